"""Transformers (https://huggingface.co/docs/transformers): text pipelines, and `generate` of text models."""

from __future__ import annotations

from dataclasses import replace

from charter_compiler.parser.sdk.signature import Sdk, Signature, Transparent, methods

_PIPELINE = ("transformers.**.pipeline",)
_TASKS = r"^(text-generation|text2text-generation|summarization|translation\w*|conversational|image-text-to-text)$"
_CLASSES = (
    *("transformers.**.AutoModelForCausalLM", "transformers.**.AutoModelForSeq2SeqLM", "transformers.**.*ForCausalLM"),
    *("transformers.**.*LMHeadModel", "transformers.**.*T5ForConditionalGeneration"),
    *("transformers.**.*BartForConditionalGeneration", "transformers.**.PegasusForConditionalGeneration"),
    *("transformers.**.MarianMTModel", "auto_gptq.**.AutoGPTQForCausalLM", "awq.**.AutoAWQForCausalLM"),
    *("optimum.**.*ForCausalLM", "optimum.**.*ForSeq2SeqLM", "peft.**.AutoPeftModelForCausalLM"),
)
_MODELS = tuple(f"{name}.from_{kind}" for name in _CLASSES for kind in ("pretrained", "quantized"))
_TOKENIZERS = (
    "transformers.**.*Tokenizer.from_pretrained",
    "transformers.**.*TokenizerFast.from_pretrained",
    "transformers.**.AutoProcessor.from_pretrained",
)
_OBJECTS = ("transformers.**.PreTrainedModel", "transformers.**.GenerationMixin", *_CLASSES, *_MODELS)
_CALL = Signature(
    api="transformers.pipeline",
    callees=methods(_PIPELINE, ""),
    prompt=("text_inputs", "inputs", "messages", 0),
    form="either",
    many=True,
    max_tokens=("max_new_tokens", "max_length"),
    texts=(
        *("[0]['generated_text']", "[0]['summary_text']", "[0]['translation_text']"),
        "[0]['generated_text'][-1]['content']",
    ),
)

SDK = Sdk(
    signatures=(
        # The task is the first argument, or a keyword; a pipeline of a task that is not shown is not listed.
        replace(_CALL, made=((0, _TASKS),)),
        replace(_CALL, made=(("task", _TASKS),)),
        replace(
            _CALL,
            callees=methods(
                ("transformers.**.TextGenerationPipeline", "transformers.**.Text2TextGenerationPipeline"), ""
            ),
        ),
        Signature(
            api="transformers.generate",
            callees=methods(_OBJECTS, ".generate", ".chat"),
            prompt=("inputs", "input_ids", 0),
            form="text",
            max_tokens=("max_new_tokens", "max_length"),
            texts=("", "[0]"),
        ),
    ),
    transparent=(
        Transparent(
            methods(_MODELS, ".to", ".cuda", ".cpu", ".eval", ".half", ".float", ".bfloat16", ".merge_and_unload")
        ),
        Transparent(("peft.**.PeftModel.from_pretrained", "peft.**.get_peft_model"), of=("model", 0)),
        # Tokens stand for the text they were made from, and back.
        Transparent(methods(_TOKENIZERS, "", ".encode", ".encode_plus", ".batch_encode_plus"), of=("text", 0)),
        Transparent(methods(_TOKENIZERS, ".apply_chat_template"), of=("conversation", 0)),
        Transparent(methods(_TOKENIZERS, ".decode"), of=("token_ids", 0)),
        Transparent(methods(_TOKENIZERS, ".batch_decode"), of=("sequences", 0)),
    ),
    models=_OBJECTS,
)
