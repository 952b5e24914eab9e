"""HTTP posts to completion endpoints by requests, httpx and aiohttp (their documentation)."""

from __future__ import annotations

from dataclasses import replace

from charter_compiler.parser.sdk.signature import Sdk, Signature, Slot, methods

ENDPOINT = (
    r"(/chat/completions|/v\d[^/]*/completions|/openai/deployments/.*/completions|/completions?|/v1/complete"
    r"|/v1/messages|/v1/responses|/v[12]/chat|/api/generate|/api/chat|:(streamG|g)enerateContent|:rawPredict"
    r"|/generate|/generate_stream|/generate_text|/text/generation|/infer_text"
    r"|api-inference\.huggingface\.co/models/.*)(/?(\?.*)?)$"
)
"""What the URL of a request ends with; counting tokens, embeddings, images and audio end otherwise."""
_SESSIONS = (
    *("requests.**.Session", "requests.**.session", "httpx.Client", "httpx.AsyncClient", "aiohttp.**.ClientSession"),
    "curl_cffi.requests.Session",
)
_POST = Signature(
    api="http",
    callees=("requests.**.post", "httpx.post", "curl_cffi.requests.post", *methods(_SESSIONS, ".post")),
    prompt=("json", "data", "content"),
    form="either",
    within=("system", "systemInstruction", "instructions", "messages", "prompt", "input", "inputs", "contents", "text"),
    texts=(
        *(".json()['choices'][0]['message']['content']", ".json()['choices'][0]['text']", ".json()['response']"),
        *(".json()['message']['content']", ".json()['content'][0]['text']", ".json()['generated_text']"),
        *(".json()[0]['generated_text']", ".json()['candidates'][0]['content']['parts'][0]['text']", ".text"),
        *(".json()['content']", ".json()['text']", ".text()", ".json()['text'][0]", ".json()['completion']"),
    ),
)
_REQUEST = replace(
    _POST,
    callees=(
        *("requests.**.request", "httpx.request", "httpx.stream"),
        *methods(_SESSIONS, ".request", ".stream"),
    ),
)


def _at(signature: Signature, *slots: Slot) -> tuple[Signature, ...]:
    """The signature where the URL is one of these arguments."""
    return tuple(replace(signature, where=((slot, ENDPOINT),)) for slot in slots)


_BY_BODY = tuple(
    replace(
        each,
        body=(("prompt", "messages", "inputs", "contents"), ("max_tokens", "temperature", "model", "max_new_tokens")),
    )
    for each in (_POST, _REQUEST)
)
"""Where the URL is not constant: a body with a prompt and with the settings of a model says the same."""

SDK = Sdk(signatures=(*_at(_POST, 0, "url"), *_at(_REQUEST, 1, "url"), *_BY_BODY), models=_SESSIONS)
