"""Amazon Bedrock by boto3 (https://docs.aws.amazon.com/boto3/latest/reference/services/bedrock-runtime.html)."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Sdk, Signature, methods

_CLIENTS = (
    *("boto3.client", "boto3.**.Session().client", "boto3.**.session().client"),
    *("aioboto3.**.Session().client", "aiobotocore.**.get_session().create_client"),
)
_NOT_TEXT = r"(?i)^(?!.*(embed|image|stability|stable-|canvas|reel|sonic|rerank|marengo|pegasus))"

SDK = Sdk(
    signatures=(
        Signature(
            api="bedrock.invoke_model",
            # No other service of boto3 has these methods.
            callees=methods(_CLIENTS, ".invoke_model", ".invoke_model_with_response_stream"),
            tails=(".invoke_model", ".invoke_model_with_response_stream"),
            prompt=("body",),
            form="either",
            where=(("modelId", _NOT_TEXT),),
            within=("system", "messages", "prompt", "inputText", "inputs"),
            texts=("['body'].read()",),
        ),
        Signature(
            api="bedrock.converse",
            callees=methods(_CLIENTS, ".converse", ".converse_stream"),
            tails=(".converse", ".converse_stream"),
            prompt=("messages",),
            form="messages",
            system="system",
            texts=("['output']['message']['content'][0]['text']",),
        ),
        Signature(
            api="bedrock.agent",
            callees=methods(_CLIENTS, ".invoke_agent", ".invoke_inline_agent", ".retrieve_and_generate"),
            prompt=("inputText", "input"),
            form="text",
            system="instruction",
            within=("text",),
            texts=("['output']['text']",),
        ),
    ),
)
