"""Prompts reordered on their way from the agent, or left alone."""

from __future__ import annotations

from charter_compiler.executor.calls import CallSite
from charter_compiler.executor.layout import PromptLayouts
from charter_compiler.executor.types import GenerationRequest
from charter_compiler.passes.template import MessageLayout, PlannedLayout, TemplatePart

BEFORE = ("Text: ", "\n\nRules.\n\nAnswer:")
AFTER = (TemplatePart("Rules.\n\nText: "), TemplatePart("", 0), TemplatePart("\n\nAnswer:"))
RAW = PlannedLayout("a.py:f#1", (MessageLayout("raw", BEFORE, AFTER),))
SITE = CallSite("a.py", 3, "a.py:f#1")


def test_a_matching_prompt_is_sent_in_the_new_order() -> None:
    layouts = PromptLayouts([RAW])
    sent = layouts.apply(SITE, GenerationRequest(prompt="Text: some\n\nRules.\n\nAnswer:", max_tokens=7))
    assert sent == GenerationRequest(prompt="Rules.\n\nText: some\n\nAnswer:", max_tokens=7)
    assert (layouts.counts.applied, layouts.counts.left) == (1, 0)


def test_another_prompt_of_the_site_is_left_and_counted() -> None:
    layouts = PromptLayouts([RAW])
    request = GenerationRequest(prompt="Text: some\n\nOther rules.\n\nAnswer:")
    assert layouts.apply(SITE, request) is request
    assert (layouts.counts.applied, layouts.counts.left) == (0, 1)


def test_another_site_is_not_touched() -> None:
    request = GenerationRequest(prompt="Text: some\n\nRules.\n\nAnswer:")
    layouts = PromptLayouts([RAW])
    assert layouts.apply(CallSite("a.py", 9, "a.py:g#1"), request) is request
    assert layouts.apply(None, request) is request
    assert (layouts.counts.applied, layouts.counts.left) == (0, 0)


def test_messages_of_a_chat_keep_their_roles() -> None:
    layout = PlannedLayout("a.py:f#1", (MessageLayout("system"), MessageLayout("user", BEFORE, AFTER)))
    system = {"role": "system", "content": "Be kind."}
    user = {"role": "user", "content": "Text: some\n\nRules.\n\nAnswer:", "name": "bo"}
    later = {"role": "assistant", "content": "Yes?"}
    sent = PromptLayouts([layout]).apply(SITE, GenerationRequest(messages=(system, user, later)))
    assert sent.messages == (system, {**user, "content": "Rules.\n\nText: some\n\nAnswer:"}, later)
    swapped = GenerationRequest(messages=(user, system))
    assert PromptLayouts([layout]).apply(SITE, swapped) is swapped
