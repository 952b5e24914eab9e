"""Chat templates."""

from __future__ import annotations

import pytest

from charter_compiler.diagnostics.errors import TokenizerError
from charter_compiler.tokens.chat import ChatTemplate
from charter_compiler.tokens.tokenizer import load_tokenizer


def test_the_default_models_template() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    prompt = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    tokenizer = load_tokenizer()
    assert tokenizer.render_chat(messages) == prompt + "<|im_start|>assistant\n"
    assert tokenizer.render_chat(messages, add_generation_prompt=False) == prompt


def test_the_default_template_puts_its_own_system_message_first() -> None:
    prompt = load_tokenizer().render_chat([{"role": "user", "content": "Hi"}])
    assert prompt.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")


def test_tokens_json_and_loop_controls() -> None:
    source = """
    {%- for message in messages -%}
    {%- if loop.index > 1 %}{% break %}{% endif -%}
    {{ bos_token }}{{ message | tojson }}{{ eos_token }}
    {%- endfor -%}"""
    template = ChatTemplate(source, bos_token="<s>", eos_token="</s>")
    assert template.render([{"role": "user", "content": "<é>"}, {"role": "user"}]) == (
        '<s>{"role": "user", "content": "<é>"}</s>'
    )


def test_a_refusal_of_the_template_is_an_error() -> None:
    template = ChatTemplate("{{ raise_exception('only user and assistant roles') }}")
    with pytest.raises(TokenizerError, match="refuses these messages: only user and assistant roles"):
        template.render([{"role": "system", "content": ""}])


def test_messages_that_do_not_fit_the_template() -> None:
    with pytest.raises(TokenizerError, match="refuses these messages"):
        load_tokenizer().render_chat([{"role": "user", "content": None}])


def test_a_broken_template() -> None:
    with pytest.raises(TokenizerError, match="does not compile"):
        ChatTemplate("{% for %}")


@pytest.mark.parametrize(
    "source", ["{{ ''.__class__.__mro__ }}", "{{ messages.append(1) }}", "{{ messages.__init__.__globals__ }}"]
)
def test_the_sandbox_holds(source: str) -> None:
    with pytest.raises(TokenizerError):
        ChatTemplate(source).render([])


def test_rendering_does_not_touch_the_messages() -> None:
    messages = ({"role": "user", "content": "Hi"},)
    with pytest.raises(TokenizerError):
        ChatTemplate("{{ messages[0].update(content='x') }}").render(messages)
    assert messages == ({"role": "user", "content": "Hi"},)


def test_no_template_finds_the_date() -> None:
    source = "{% if strftime_now is defined %}{{ strftime_now('%d') }}{% else %}fixed{% endif %}"
    assert ChatTemplate(source).render([]) == "fixed"
