"""LiteLLM and LangChain against a gateway whose address is in their own variables; run in an environment that has them.

Prints one JSON object: what each client was told.
"""

from __future__ import annotations

import json

import litellm
from langchain_openai import ChatOpenAI

QUESTION = [{"role": "system", "content": "Be brief. " * 40}, {"role": "user", "content": "Which colour has the sky?"}]


def of_litellm() -> dict[str, object]:
    whole = litellm.completion(model="openai/any", messages=QUESTION, max_tokens=4)
    pieces = litellm.completion(model="openai/any", messages=QUESTION, max_tokens=4, stream=True)
    anthropic = litellm.completion(model="anthropic/claude-any", messages=QUESTION, max_tokens=4)
    return {
        "text": whole.choices[0].message.content,
        "cached": whole.usage.prompt_tokens_details.cached_tokens,
        "output": whole.usage.completion_tokens,
        "pieces": [piece.choices[0].delta.content for piece in pieces if piece.choices[0].delta.content],
        "anthropic": anthropic.choices[0].message.content,
    }


def of_langchain() -> dict[str, object]:
    model = ChatOpenAI(model="any", max_tokens=4)
    messages = [(message["role"], message["content"]) for message in QUESTION]
    whole = model.invoke(messages)
    return {
        "text": whole.content,
        "output": whole.usage_metadata["output_tokens"],
        "cached": whole.usage_metadata["input_token_details"]["cache_read"],
        "pieces": [piece.content for piece in model.stream(messages) if piece.content],
    }


if __name__ == "__main__":
    litellm.telemetry = False
    print(json.dumps({"litellm": of_litellm(), "langchain": of_langchain()}))
