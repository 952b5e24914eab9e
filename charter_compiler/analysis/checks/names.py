"""What the names of values say. Authors name things well; where a name says nothing, nothing is concluded from it."""

from __future__ import annotations

import re

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


SETTINGS = _set(
    """
    language languages lang locale tone style format formats model prompt prompts instruction instructions system
    persona role roles rule rules guideline guidelines schema tool tools max min num number limit count total config
    configuration settings options option version audience template preamble prefix suffix date today year month day
    type mode level unit delimiter separator categories category labels label classes n k size length words
    threshold enabled flag kind platform backstory capability capabilities function functions os workspace cwd
    example examples shot shots domain region country currency timezone criteria rubric policy spec standard agent
    agents assistant bot header footer intro setup depth provider api env environment
    """
)
"""Words of names of values that stay the same for many calls: settings of the program rather than its data."""

VOLATILE = frozenset(("timestamp", "now", "nonce", "uuid", "guid"))
_VOLATILE_PAIRS = frozenset(
    (first, second)
    for first, seconds in (
        ("request", "id number count"),
        ("trace", "id"),
        ("session", "id"),
        ("run", "id"),
        ("message", "id"),
        ("correlation", "id"),
        ("conversation", "id"),
        ("call", "id count"),
        ("current", "time"),
        ("time", "stamp"),
        ("turn", "number count"),
        ("random", "seed"),
    )
    for second in seconds.split()
)
_COUNTERS = frozenset(("i", "idx", "index", "counter", "turn", "step", "iteration", "attempt", "round"))

LONG = _set(
    """
    context contexts document documents doc docs report article transcript paper code source content contents text
    texts history conversation dialogue schema passage passages notes manual contract knowledge background codebase
    spec outline summary summaries draft guidelines policy policies rubric instructions catalog manuscript chapter
    essay email resume cv log logs diff corpus book page
    """
)
"""Words of names of values that are long texts."""
_SHORT = _set("id name title type length len size count path url date language file")
_BRIEF = _SHORT | _set("question query topic keyword keywords term word subject city company user")

_DICTIONARIES = _set(
    """
    config configuration settings profile schema tools metadata options catalog params state inventory facts
    preferences attributes features parameters registry glossary policy policies rules context tags properties
    fields limits flags prices menu
    """
)
_DUMP = re.compile(r"(?:json\.|orjson\.|ujson\.|\b)dumps\((?P<what>[^,()]*)(?P<rest>.*)\)$", re.DOTALL)


def words(name: str) -> list[str]:
    """The words of the last part of a name: ``row['userQuestion'][:50]`` gives ``user``, ``question``."""
    dump = _DUMP.search(name)
    bare = re.sub(r"\[[-\d:+ ]*\]", "", dump["what"] if dump else name)
    bare = re.sub(r"\.(?:strip|lower|upper|title|format|get|replace|rstrip|lstrip|join)\(.*$", "", bare)
    parts = re.findall(r"\w+", bare)
    return [word.lower() for word in _WORDS.findall(parts[-1].replace("_", " "))] if parts else []


def means_setting(name: str) -> bool:
    """Whether a value of that name is likely a setting that stays the same for many calls."""
    found = words(name)
    if not found or "user" in found[:-1]:
        return False  # a prompt of the program is a setting, a user's is not
    return found[-1] in SETTINGS or found[0] in ("max", "min", "num", "n", "is", "has", "use")


def means_volatile(name: str) -> bool:
    """Whether the name is that of a time, an identifier made for the call, or a counter."""
    found = words(name)
    pairs = {tuple(found[index : index + 2]) for index in range(len(found) - 1)}
    return (
        (bool(found) and found[-1] in VOLATILE)
        or not pairs.isdisjoint(_VOLATILE_PAIRS)
        or (len(found) == 1 and found[0] in _COUNTERS)
    )


def is_unordered_dump(name: str) -> bool:
    """Whether the value is the JSON of a dictionary of settings, without a fixed order of its keys."""
    match = _DUMP.search(name)
    if match is None or "sort_keys" in match["rest"]:
        return False
    found = words(match["what"])
    return bool(found) and found[-1] in _DICTIONARIES


def means_long_text(name: str) -> bool:
    """Whether a value of that name is likely a text of a hundred tokens or more."""
    found = words(name)
    return bool(found) and found[-1] in LONG and not _SHORT.intersection(found)


def means_short(name: str) -> bool:
    """Whether a value of that name is likely a few words."""
    found = words(name)
    return bool(found) and found[-1] in _BRIEF


_HISTORY = re.compile(
    r"(?i)(?:\b|_)(?:history|messages|memory|memories|conversation|transcript|turns|dialogu?e?s?)(?:\b|_)"
)


def means_history(words_of_it: str) -> bool:
    """Whether a name, or a reason that names something, is about the turns of a conversation."""
    return _HISTORY.search(words_of_it) is not None


_EXAMPLES = frozenset({"examples", "shots", "demonstrations", "demos", "fewshot", "exemplars"})


def means_examples(name: str) -> bool:
    """Whether the value is a list of examples."""
    found = words(name)
    return bool(found) and found[-1] in _EXAMPLES


_HEADING = re.compile(r"(?im)^[\s#*<]*(?:few[- ]shot\s+)?examples?(?:\s*\d+\s*(?:[:.>*)]|$)|\s*[:>*]*\s*$)")
_LABEL = re.compile(r"(?m)^[ \t]*[*#<]*[ \t]*([A-Za-z][A-Za-z ]{0,20}?)[ \t]*\d*\**[ \t]*[:>]")


def holds_examples(text: str) -> bool:
    """Whether a constant text holds worked examples: two labels at the start of lines in turn (``Input:``, ``Output:``,
    ``Input:``, ``Output:``), or several headings that say so."""
    labels = [label.casefold() for label in _LABEL.findall(text)]
    pairs = zip(labels, labels[1:], labels[2:], labels[3:], strict=False)
    return any(a == c and b == d and a != b for a, b, c, d in pairs) or len(_HEADING.findall(text)) >= 2
