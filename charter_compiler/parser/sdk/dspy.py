"""DSPy (https://dspy.ai/api): modules with a signature, and language models that are called themselves."""

from __future__ import annotations

from charter_compiler.parser.sdk.signature import Carrier, Sdk, Signature, Transparent, methods

_MODULES = tuple(
    f"dspy.**.{name}"
    for name in (
        *("Predict", "ChainOfThought", "ChainOfThoughtWithHint", "ReAct", "ReActV2", "ProgramOfThought", "CodeAct"),
        *("MultiChainComparison", "RLM", "Avatar", "TypedPredictor", "TypedChainOfThought"),
    )
)
_LM_NAMES = (
    *("LM", "BaseLM", "OpenAI", "AzureOpenAI", "GPT3", "Anthropic", "Claude", "Cohere", "Google", "GoogleVertexAI"),
    *("Mistral", "Groq", "Together", "HFModel", "HFClientTGI", "HFClientVLLM", "Ollama", "OllamaLocal", "Databricks"),
    *("AWSMistral", "AWSAnthropic", "AWSMeta", "Bedrock", "Sagemaker", "Clarifai", "ClarifaiLLM", "Watsonx", "You"),
    *("HFServerTGI", "ChatModuleClient", "ChatModule", "LlamaCpp", "Snowflake", "TensorRTModel", "MultiOpenAI"),
)
_LMS = tuple(f"{package}.**.{name}" for package in ("dspy", "dsp") for name in _LM_NAMES)
_SIGNATURES = ("dspy.**.Signature", "dspy.**.make_signature", "dspy.**.ensure_signature")

SDK = Sdk(
    signatures=(
        Signature(
            api="dspy.module",
            callees=methods(_MODULES, "", ".acall", ".forward", ".aforward", ".batch"),
            prompt=(),
            form="fields",
            options=("signature", "config", "lm", "demos", "max_iters", "max_retries"),
            texts=("", ".*"),
        ),
        Signature(
            api="dspy.LM",
            callees=(
                *methods(_LMS, "", ".acall", ".forward", ".aforward", ".request", ".basic_request"),
                *("dspy.settings.lm", "dspy.settings.lm.acall"),
            ),
            prompt=("messages", "prompt", 0),
            form="either",
            texts=("[0]", "[0]['text']"),
        ),
    ),
    carriers=(
        Carrier(_MODULES, ("signature", 0)),
        Carrier(_SIGNATURES, (0, "signature", 1, "instructions")),
        Carrier(methods(_SIGNATURES, ".with_instructions"), ("instructions", 0)),
    ),
    transparent=(
        Transparent(
            (
                *("dspy.**.BestOfN", "dspy.**.Refine", "dspy.**.asyncify", "dspy.**.syncify", "dspy.**.streamify"),
                "dspy.**.assert_transform_module",
            ),
            of=("module", "program", 0),
        ),
        Transparent(methods(_MODULES, ".deepcopy", ".reset_copy", ".activate_assertions", ".with_config")),
        Transparent(methods(_LMS, ".copy")),
    ),
    models=(*_MODULES, *_LMS),
)
