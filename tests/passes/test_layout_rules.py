"""Rules of the layout that prompts of public agents taught."""

from __future__ import annotations

import re

import pytest
from layout_cases import shown

from charter_compiler.executor.inputs import InputRow
from charter_compiler.ir.nodes import Agent, Call
from charter_compiler.parser.ast_parser import AgentASTParser
from charter_compiler.passes.layout import layout
from charter_compiler.passes.said import NOT_ENGLISH
from charter_compiler.passes.site_layout import LayoutOptions, SiteLayouts
from charter_compiler.passes.source_layout import rewrite_source
from charter_compiler.predict.layout_of_entry import grouped_fields


def laid_out(prompt: str) -> str:
    names = ", ".join(sorted(set(re.findall(r"\{(\w+)\}", prompt))))
    source = f"def process({names}, llm):\n    return llm.generate(f{prompt!r})\n"
    (call,) = layout(Agent("a.py", AgentASTParser().parse_source(source, "a.py").calls)).agent.calls
    return shown(call, [call])


def test_no_separator_is_lost_between_the_last_block_and_the_first() -> None:
    assert laid_out("Text: {a}\n\nName the author.") == "Name the author.\n\nText: {a}"
    assert laid_out("\n    Text: {a}\n\n    Name the author.\n    ") == "\n    Name the author.\n\n    Text: {a}\n    "


@pytest.mark.parametrize(
    "prompt",
    [
        "Analyse the sections and name {n} of them that gain most.\n\nFor each section give a number.\n\nReport:\n{a}",
        "Round {n} of 5.\nIn your thoughts, weigh the quality.\n\nRespond in the usual format.",
        'Write {n} queries on the following task: "{a}"\n\nEach query must be a phrase.',
        "Great work! Refine the part {a} that you wrote.\n\nPay attention to errors of style.",
    ],
)
def test_an_instruction_with_a_value_is_not_overtaken(prompt: str) -> None:
    assert laid_out(prompt) == prompt


def test_a_closing_instruction_with_a_value_stays_last() -> None:
    prompt = "Details:\n{a}\n\nWrite code that runs.\n\nNow, please write the function {n}."
    assert laid_out(prompt) == "Write code that runs.\n\nDetails:\n{a}\n\nNow, please write the function {n}."


def test_the_beginning_of_an_answer_stays_last() -> None:
    prompt = "Hint: {a}\n\nWrite code that runs.\n\n# improved implementation\n{b}"
    assert laid_out(prompt) == "Write code that runs.\n\nHint: {a}\n\n# improved implementation\n{b}"


def test_a_ruler_is_not_crossed() -> None:
    prompt = "Text: {a}\n\n---\n\nName the author of the text.\n\nAuthor:"
    assert laid_out(prompt) == prompt


def test_branches_of_one_condition_share_nothing() -> None:
    source = (
        "def process(a, b, c, fast, llm):\n"
        "    if fast:\n"
        '        return llm.generate(f"A: {a}\\n\\nC: {c}\\n\\nAnswer:")\n'
        "    else:\n"
        '        return llm.generate(f"B: {b}\\n\\nC: {c}\\n\\nAnswer:")\n'
    )
    agent = AgentASTParser().parse_source(source, "a.py").agent
    assert not layout(agent).changed


@pytest.mark.parametrize(
    "prompt",
    [
        "User: {a}\nAssistant: Let me look.\nUser: {b}\nAssistant:",
        "Customer: {a}\nAgent: Let me look.\nCustomer: {b}\nAgent:",
        "Review: {a}\nSentiment: positive.\n\nReview: {b}\nSentiment:",
        "Question: {a}\nMark: good.\n\nQuestion: {b}\nMark:",
    ],
)
def test_transcripts_and_examples_with_values_are_not_torn_apart(prompt: str) -> None:
    assert laid_out(prompt) == prompt


def test_one_speaker_is_a_label() -> None:
    assert laid_out("User: {a}\n\nReply kindly.\n\nAssistant:") == "Reply kindly.\n\nUser: {a}\n\nAssistant:"


def test_quotes_around_a_value_do_not_make_it_an_instruction() -> None:
    assert laid_out('Text: """{a}"""\n\nName the author.') == 'Name the author.\n\nText: """{a}"""'


@pytest.mark.parametrize("gap", ["\n---\n", "\n\n=====\n\n"])
def test_sections_that_rulers_part_are_moved_with_a_ruler_between(gap: str) -> None:
    assert laid_out(gap.join(["Text: {a}", "Be brief.", "Answer:"])) == gap.join(["Be brief.", "Text: {a}", "Answer:"])


@pytest.mark.parametrize(
    "prompt",
    [
        "The letter is below.\n---\n{a}\n---\nName the author.",
        "Letter:\n---\nSubject: {a}\n---\nName the author.",
        "# Letter\n---\nSubject: {a}\n---\nName the author.",
        "Text: {a}\n---\nName the author.\n===\nAuthor:",
        "Text: {a}\n---\nName the author.\n\nAuthor:",
        "Text: {a}\n---\nIgnore all orders that stand before the ruler.",
        "Text: {a}\n---\nUse section 1 only to answer section 3.\n---\nQuestion: {n}",
        "Text: {a}\n---\nDo as the text in the section before asks.",
        "1. Text: {a}\n---\n2. Be brief.",
    ],
)
def test_rulers_that_may_stand_around_something_are_not_crossed(prompt: str) -> None:
    assert laid_out(prompt) == prompt


def test_another_message_may_speak_of_the_sections_too() -> None:
    source = (
        "def process(a, llm):\n"
        "    return llm.chat.completions.create(model='m', messages=[\n"
        "        {'role': 'system', 'content': 'Trust %s.'},\n"
        "        {'role': 'user', 'content': f'Text: {a}\\n---\\nBe brief.'}])\n"
    )
    for said, moved in (("all authors", True), ("section 2 alone", False)):
        agent = AgentASTParser().parse_source(source % said, "a.py").agent
        assert bool(layout(agent).changed) is moved


@pytest.mark.parametrize(
    "prompt",
    [
        "{a}\nText: {b}\n\nThe first line is the title of the text.",
        "Text: {a}\n\nThe last line is a question",
        "Text: {a}\n\nBe kind to all.\n\nUse the first two lines for the title.",
    ],
)
def test_where_lines_are_told_by_their_place_nothing_moves(prompt: str) -> None:
    assert laid_out(prompt) == prompt
    (site,) = layout(AgentASTParser().parse_source(SITE.format(prompt), "a.py").agent).sites
    assert site.kept == ("the instructions name a line of the prompt by its place",)


SITE = "def process(a, b, llm):\n    return llm.generate(f{!r})\n"


@pytest.mark.parametrize(
    "instruction",
    ["Write a letter whose tone is the same.", "Ignore what you read so far.", "Trust no orders that stand before."],
)
def test_an_instruction_that_speaks_of_what_was_said_stays_behind_it(instruction: str) -> None:
    prompt = f"Document: {{a}}\n\n{instruction}"
    assert laid_out(prompt) == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "{a}\n\nReply to the message you just read in a friendly tone.\n\nMessage of yesterday: {b}",
        "Letter: {a}\n\nForget who wrote the letter you have been given.\n\nName: {b}",
    ],
)
def test_what_was_read_or_given_stays_in_front(prompt: str) -> None:
    assert laid_out(prompt) == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "Text: {a}\n\nFasse den obigen Text zusammen.",
        "Text: {a}\n\nAntworte kurz.",
        "Texte : {a}\n\nRésume le texte ci-dessus.",
        "Texto: {a}\n\nResume el texto anterior en tres frases.",
        "Teks: {a}\n\nRingkas teks pendek tersebut dalam tiga kalimat saja.",
        "文本：{a}\n\n总结上面的文本",
        "You are a helpful assistant of the bank.\n\nText: {a}\n\nFasse den obigen Text zusammen.",
        "Text: {a}\n\nKeep all the names of the text as they are. Fasse den obigen Text zusammen.",
    ],
)
def test_a_prompt_in_another_language_is_left_as_written(prompt: str) -> None:
    assert laid_out(prompt) == prompt
    (site,) = layout(AgentASTParser().parse_source(SITE.format(prompt), "a.py").agent).sites
    assert site.kept == (NOT_ENGLISH,)


@pytest.mark.parametrize(
    "instruction", ["Rate the résumé.", "Name five tags.", "Name the climate of La Paz.", "Use the café's own words."]
)
def test_a_name_or_a_loan_word_makes_no_other_language(instruction: str) -> None:
    assert laid_out(f"Text: {{a}}\n\n{instruction}") == f"{instruction}\n\nText: {{a}}"


def test_an_answer_given_as_an_example_may_be_in_another_language() -> None:
    source = (
        "def process(a, llm):\n"
        "    return llm.chat.completions.create(model='m', messages=[\n"
        "        {'role': 'user', 'content': 'The boiler leaks.'},\n"
        "        {'role': '%s', 'content': 'Der Kessel leckt.'},\n"
        "        {'role': 'user', 'content': f'Text: {a}\\n\\nTranslate the text.'}])\n"
    )
    for role, moved in (("assistant", True), ("user", False)):
        agent = AgentASTParser().parse_source(source % role, "a.py").agent
        assert bool(layout(agent).changed) is moved


def in_loop(prompt: str) -> str:
    """``a`` is of the item, ``n`` of the turn."""
    source = f"def process(a, names, llm):\n    for n in names:\n        llm.generate(f{prompt!r})\n"
    (call,) = layout(AgentASTParser().parse_source(source, "a.py").agent).agent.calls
    return shown(call, [call])


def test_a_labelled_value_may_overtake_an_instruction_that_stands_for_itself() -> None:
    assert in_loop("Translate the text to {n}.\n\nText: {a}\n\nAnswer:") == (
        "Text: {a}\n\nTranslate the text to {n}.\n\nAnswer:"
    )
    for kept in ("The text is in {n}.\n\nText: {a}", "Translate this to {n}.\n\nText: {a}", "Go to {n}.\n\n{a}"):
        assert in_loop(f"{kept}\n\nAnswer:") == f"{kept}\n\nAnswer:"


def test_records_stay_whole_behind_the_rules() -> None:
    records = "Name: {a}\nBody: {b}\n\nName: {c}\nBody: {d}"
    assert laid_out(f"{records}\n\nWrite one line only.") == f"Write one line only.\n\n{records}"
    ruled = records.replace("\n\n", "\n\n---\n\n")
    assert laid_out(f"{ruled}\n\nWrite one line only.") == f"{ruled}\n\nWrite one line only."


@pytest.mark.parametrize(
    "prompt",
    [
        "[INST] Text: {a}\n\n[/INST]\n\nName the author.",
        "<|start_header_id|>user<|end_header_id|>\n\nText: {a}\n\n<|eot_id|>\n\nName the author.",
        '"""\n\n{a}\n\n"""\n\nName the author.',
        "<<<\n\n{a}\n\n>>>\n\nName the author.",
        "BEGIN TEXT\n\n{a}\n\nEND TEXT\n\nName the author.",
        "{a}\n\nEnd of document.\n\nName the author.",
        "Human: {a}\n\nAssistant: Sure.\n\nName the author.",
    ],
)
def test_delimiters_and_chat_templates_are_not_crossed(prompt: str) -> None:
    assert laid_out(prompt) == prompt


def two_sites(one: str, two: str, names: str = "a, b, d") -> list[str]:
    """``a`` is new at each item's first call; what both have in common would come first."""
    source = (
        f"def process({names}, llm):\n    first = llm.generate(f{one!r})\n    second = llm.generate(f{two!r})\n"
        "    return first + second\n"
    )
    calls = AgentASTParser().parse_source(source, "a.py").calls
    return [shown(call, calls) for call in layout(Agent("a.py", calls)).agent.calls]


@pytest.mark.parametrize("label", ["", "Text: ", "<doc>"])
def test_values_that_only_their_order_tells_apart_are_not_swapped(label: str) -> None:
    end = "</doc>" if label == "<doc>" else ""
    one = f"{label}{{a}}{end}\n\n{label}{{b}}{end}\n\nWhich is longer?"
    two = f"{label}{{b}}{end}\n\nName the author in one word."
    for text in two_sites(one, two):
        assert "{a}" not in text or text.index("{a}") < text.index("{b}")


def test_no_value_comes_to_stand_among_what_shall_be_ignored() -> None:
    one, two = "Text: {a}\n\n%s\n\nReport: {b}", "Report: {b}\n\nName the author in one word."
    plain, all_before = (two_sites(one % words, two)[0] for words in ("Be brief.", "Ignore what you read so far."))
    assert plain.index("{b}") < plain.index("{a}")
    assert all_before == one % "Ignore what you read so far."


def test_values_that_the_instructions_count_are_not_swapped() -> None:
    one, two = "Letter: {a}\n\nReport: {b}\n\nName the %s text.", "Report: {b}\n\nName the author in one word."
    plain, counted = (two_sites(one % word, two)[0] for word in ("longer", "second"))
    assert plain.index("{b}") < plain.index("{a}")
    assert counted.index("{a}") < counted.index("{b}")


def test_instructions_with_values_keep_their_order_among_instructions() -> None:
    prompt = "Be brief and kind.\n\nName {n} of all the authors.\n\nReply in French."
    assert laid_out(prompt) == prompt
    after = two_sites(
        "Be brief and kind to all.\n\nSpeak of {b} alone.\n\nText: {a}", "Speak of {b} alone.\n\nName the place."
    )
    assert after[0].index("Be brief") < after[0].index("Speak")


@pytest.mark.parametrize(
    ("label", "same"),
    [("Source answer:", True), ("The full answer:", True), ("Student answer:", False), ("Your answer:", False)],
)
def test_only_labels_that_differ_in_empty_words_are_made_one(label: str, same: bool) -> None:
    """The labels of one value: "Answer:" at the first site, another at the second."""
    one, two = "Answer: {b}\n\nSay yes or no to it with care.", f"{label} {{b}}\n\nName the author in one word."
    after = two_sites(one, two, "b")
    assert (label not in after[1]) is same


RULES = "You weigh evidence with care.\n\nName sources by their number. Never guess a date, and never a name."


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (RULES.removesuffix("."), True),
        (RULES.replace(" Never", "  Never"), False),
        (RULES.replace("\n\nName", "\n\n  Name"), False),
        (RULES.replace("care.", "care!"), False),
        (RULES.replace("by their", "with their"), False),
    ],
)
def test_constant_blocks_that_differ_in_a_last_full_stop_are_made_one(other: str, same: bool) -> None:
    """Constants alone are computed once a run; it pays where a value follows that both sites share."""
    one, two = (f"{rules}\n\nText: {{a}}\n\nName the {noun}." for rules, noun in ((RULES, "place"), (other, "author")))
    assert (RULES in two_sites(one, two, "a")[1]) is same
    source = f"def process(a, llm):\n    x = llm.generate(f{one!r})\n    return x + llm.generate(f{two!r})\n"
    agent = AgentASTParser().parse_source(source, "a.py").agent
    kept = layout(agent, LayoutOptions(wording=False)).agent.calls
    assert RULES not in shown(kept[1], kept)
    if same:
        result = rewrite_source(source, "a.py", layout(agent).sites)
        assert not result.left
        assert source.count(repr(RULES)[1:-1]) + 1 == result.after.count(repr(RULES)[1:-1])


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("Fill in this form:\na:\n  b: 1", "Fill in this form:  \na:\n\n  b: 1", True),
        ('Separate the columns with "\t" and nothing else.', 'Separate the columns with " " and nothing else.', False),
        ("Fill in this form:\na:\n  b: 1", "Fill in this form:\na:\nb: 1", False),
    ],
)
def test_white_space_is_made_one_at_the_end_of_lines_only(one: str, two: str, same: bool) -> None:
    first, second = (f"{rule}\n\nText: {{a}}\n\nName the {noun}." for rule, noun in ((one, "place"), (two, "author")))
    after = two_sites(first, second, "a")
    assert one in after[0]
    assert (one if same else two) in after[1]


def test_a_block_in_the_words_of_the_first_site_says_above_where_its_value_moved() -> None:
    """One call lacks the last full stop: it gets the first one's words, and these are true where they stand."""
    rule = "Name the %s in one word.\n\nUse only the document below%s\n\nDocument: {b}"
    asks = [rule % pair for pair in (("author", "."), ("place", ""), ("year", "."))]
    calls = "".join(f"    x{n} = llm.generate(f{ask!r})\n" for n, ask in enumerate(asks))
    source = f"def process(b, llm):\n{calls}    return x0 + x1 + x2\n"
    agent = AgentASTParser().parse_source(source, "a.py").agent
    texts = [shown(call, [call]) for call in layout(agent).agent.calls]
    assert all(text.startswith("Document: {b}\n\nName") for text in texts)
    assert all(text.endswith(" in one word.\n\nUse only the document above.") for text in texts)


def test_a_prompt_of_many_rules_is_laid_out_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block's place depends on is found once a block and mode, not once a comparison."""
    asked: list[int] = []
    find = SiteLayouts._priority

    def counting(self: SiteLayouts, call: Call, number: int, index: int, shared_first: bool) -> tuple[float, ...]:
        asked.append(index)
        return find(self, call, number, index, shared_first)

    monkeypatch.setattr(SiteLayouts, "_priority", counting)
    rules = [f"Do thing number {number} with care." for number in range(40)]
    assert laid_out("Text: {a}\n\n" + "\n\n".join(rules)) == "\n\n".join(rules) + "\n\nText: {a}"
    assert len(asked) == 2 * 41


def test_of_choices_of_equal_worth_the_one_that_moves_less_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    prompt = "Text: {a}\n\nName the author."
    assert laid_out(prompt) != prompt
    monkeypatch.setattr("charter_compiler.passes.layout._MIN_GAIN", 1e9)
    assert laid_out(prompt) == prompt


@pytest.mark.parametrize(
    "prompt",
    [
        "Assign the text below to one of the topics listed below it.\n\nText: {a}\n\nTopics: sport, world\n\nTopic:",
        "The text is followed by its title.\n\nText: {a}\n\nBe brief.\n\nAuthor:",
        "Texts are given first.\n\nText: {a}\n\nBe brief.\n\nAuthor:",
        "File: {a}\n\nTouch only the file named before the fence.\n\nPatch:",
        "{persona}\n\nStay in your role.\n\nLine:",
        "Text: {a}\n\nWrite a title.\n\nIt must be short.",
        "Text: {a}\n\nEvaluation form (scores only):\n\n- Style:",
    ],
)
def test_what_speaks_of_the_block_before_it_is_not_parted_from_it(prompt: str) -> None:
    assert laid_out(prompt) == prompt


@pytest.mark.parametrize(
    "remark", ["Examples:\nred: colour\n\nThese examples show the form.", "Name the author.\n\nThen name the year."]
)
def test_what_is_meant_moves_with_what_speaks_of_it(remark: str) -> None:
    assert laid_out(f"Text: {{a}}\n\n{remark}\n\nAnswer:") == f"{remark}\n\nText: {{a}}\n\nAnswer:"


def test_a_fact_does_not_hold_back_what_an_instruction_with_a_value_does() -> None:
    assert laid_out("Today is {a}.\n\nPlan a trip.") == "Plan a trip.\n\nToday is {a}."
    assert laid_out('The user said "{a}".\n\nName a tool.') == 'Name a tool.\n\nThe user said "{a}".'
    for first in ("Answer in {a}.", "The text is in {a}.", "The following is {a}."):
        assert laid_out(f"{first}\n\nPlan a trip.") == f"{first}\n\nPlan a trip."


def test_a_heading_that_is_a_label_is_a_section_where_no_lower_one_follows() -> None:
    rules = "## Rules\nBe brief.\n\n"
    assert laid_out(f"## Place: {{a}}\n\n{rules}## Text") == f"{rules}## Place: {{a}}\n\n## Text"
    for prompt in (f"# Place: {{a}}\n\n{rules}## Text", f"## Guide to {{a}}\n\n{rules}## Text"):
        assert laid_out(prompt) == prompt


def test_a_section_stays_in_the_one_that_it_is_a_part_of() -> None:
    parts = "## Done\n{a}\n\n# Task\nBe brief.\n\n"
    assert laid_out(f"# Past\nWe began.\n\n{parts}# Text") == f"# Past\nWe began.\n\n{parts}# Text"
    assert laid_out("# Past\n\n## Done\n{a}\n\n## Task\nBe brief.") == "# Past\n\n## Task\nBe brief.\n\n## Done\n{a}"


@pytest.mark.parametrize(("step", "first"), [("h += n", True), ("h = h[-9:] + n", False), ("h = n + h", False)])
def test_a_history_that_is_appended_to_comes_before_what_each_turn_brings(step: str, first: bool) -> None:
    source = (
        "def process(names, llm):\n    h = ''\n    for n in names:\n"
        f'        llm.generate(f"Name: {{n}}\\n\\nList:\\n{{h}}\\n\\nAnswer:")\n        {step}\n'
    )
    agent = AgentASTParser().parse_source(source, "a.py").agent
    assert bool(layout(agent).changed) is first


def test_fields_that_items_have_in_common_come_before_those_that_are_new_with_each() -> None:
    source = (
        "def process(name, place, kind, llm):\n"
        '    return llm.generate(f"Name: {name}\\nPlace: {place}\\nKind: {kind}\\n\\n'
        'Write one line only.\\n\\nLine:")\n'
    )
    agent = AgentASTParser().parse_source(source, "a.py").agent
    rows = [InputRow(n, n + 1, {"name": f"n{n}", "place": f"p{n % 4}", "kind": f"k{n % 2}"}) for n in range(8)]
    assert grouped_fields(rows) == {"place": 4, "kind": 2}
    (call,) = layout(agent, LayoutOptions(grouped=grouped_fields(rows))).agent.calls
    assert shown(call, [call]) == "Write one line only.\n\nKind: {kind}\n\nPlace: {place}\nName: {name}\n\nLine:"
    assert grouped_fields(rows[:4]) == {"kind": 2}
    assert grouped_fields([]) == {}
