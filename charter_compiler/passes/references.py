"""What a piece of a prompt says about its place: cues, announcements ("the following"), references back ("it").

Word lists of English, read conservatively: where a word may refer to another block, the two keep their order. To keep
an order costs tokens; to break a reference changes the question.
"""

from __future__ import annotations

import re

from charter_compiler.passes.flat import has_hole, is_hole

CUE_WORDS = 8
"""A last line of so many words or fewer that ends with a colon asks for the answer."""
CALL_WORDS = 24
"""So does a last paragraph of so many words or fewer that begins with "now", "begin" and the like."""

_CUE_START = re.compile(
    r"(?:let'?s|let us|begin|start|go|now)\b|(?:assistant|ai|bot|answer|output|response|a)\s*:", re.IGNORECASE
)
_FAR_BACK = re.compile(
    r"\b(?:above|preceding|previous(?:ly)?|earlier|aforementioned|foregoing|as before)\b", re.IGNORECASE
)
_NEAR_BACK = re.compile(
    r"\b(?:latter|(?<!\bis )(?<!\bare )(?<!\bbe )the same(?! \w+ as\b)|"
    r"(?:is|are|be) the same(?! (?:\w+ )?as\b| (?:only )?(?:if|when)\b)|such a|"
    r"based on (?:this|that|it|these)|that(?=\s*(?:[.,;:!?]|$)))\b",
    re.IGNORECASE,
)
_ALL_BEFORE = re.compile(
    r"\b(?:so far|(?:until|up to) (?:now|here)|"
    r"(?:stands?|stood|comes?|came|goes|went|said|told|written|given|shown|read|seen|named|mentioned|listed) before|"
    r"(?:just|have|you) read|(?:been|were|was) given|"
    r"(?:all|everything|anything|instructions|orders|rules) (?:of the )?above)\b",
    re.IGNORECASE,
)
_BACK_IN_LABEL = re.compile(r"\b(?:above|preceding|aforementioned|foregoing)\b", re.IGNORECASE)
_SEQUENCE = re.compile(
    r"(?:then|next|finally|afterwards?|after that|also|in addition|otherwise|however|therefore|thus|hence|but|and|"
    r"if so|once (?:done|you have)|second(?:ly)?|third(?:ly)?|lastly|step [2-9])\b",
    re.IGNORECASE,
)
_FIRST = re.compile(r"(?:first(?:ly)?\b|to begin\b|step 1\b)", re.IGNORECASE)
_AHEAD = re.compile(
    r"\b(?:the following|following|below|beneath|underneath|(?:here|this|these) (?:is|are)|here's|as follows|"
    r"(?:that|which) follows?)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"\b(?:it|its|they|them|their|theirs|he|she|him|his|her|this|these|those)\b", re.IGNORECASE)
_STARTS_WITH_THAT = re.compile(r"(?:that|those)\b", re.IGNORECASE)
_NOUN_PHRASE = re.compile(
    r"\b(?:the|a|an|each|every|any|all|no|your|some|both|two|three|one|whose|which)\s+\w+|\b[a-z]{3,}(?<!ss)s\b",
    re.IGNORECASE,
)
_NOT_NOUNS = re.compile(r"\b(?:in|within|with|using) (?:one|two|three|a|an|\d+) \w+|\b(?:this|always|as|is)\b")
_CLAUSE_END = re.compile(r"[,;:.!?()\n]|\b(?:and|or|but|if|when|where|while|unless|so|because|as)\b", re.IGNORECASE)
_OWN_PHRASE = re.compile(r"\b(?:(?:the|a|an|your|some|two|three|one|all)\s+)?[\w'-]+\s+(?:of|about)\s+$", re.IGNORECASE)
"""What a pronoun is a part of is not what it means: "a summary of its main points"."""
_IMPERATIVE = re.compile(
    r"(?:please\s+)?(?:add|analy[sz]e|answer|argue|ask|assess|assign|build|check|choose|cite|classify|compare|compose|"
    r"compute|convert|correct|count|create|critique|decide|describe|design|detect|determine|draft|edit|estimate|"
    r"evaluate|explain|extract|fill|find|fix|format|generate|give|grade|identify|implement|improve|infer|judge|label|"
    r"list|make|mark|match|name|outline|paraphrase|pick|plan|predict|produce|propose|provide|rank|rate|recommend|"
    r"rephrase|reply|report|respond|return|review|revise|rewrite|score|select|simplify|solve|sort|state|suggest|"
    r"summari[sz]e|tag|tell|transform|translate|turn|use|verify|write)\b",
    re.IGNORECASE,
)
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n")
_EXAMPLE = re.compile(
    r"^(?:example|sample|input|output|q|a|question|answer|user|assistant)\b[^\n:]{0,30}:.*$",
    re.IGNORECASE | re.MULTILINE,
)
_FENCED = re.compile(r"```.*?```", re.DOTALL)
"""Lines of examples, and what stands in fences: what they say is not said to the model."""
_LISTED = re.compile(
    r"\b(?:points?|steps?|rules?|formats?|criteria|instructions?|guidelines?|questions|structure|schema|examples?|"
    r"template|keys|fields|categories|labels|options|tools|requirements|principles|tasks|form|style|pattern|syntax|"
    r"layout|order|scale|object|way)\b",
    re.IGNORECASE,
)
_DEMONSTRATIVES = ("this", "these", "those")
_OBJECTS = ("it", "them", "him", *_DEMONSTRATIVES)
_RULES = re.compile(r"\b(?:rules|instructions|guidelines|requirements|constraints|directions)\b", re.IGNORECASE)
_NOUN_BEHIND = re.compile(r"\s+([A-Za-z]+)")
_NAMED_WORDS = 3
"""Words between "these" and a colon behind which stands what is meant: "one of these types: date, text"."""
_HEADING = re.compile(r"(?:#{1,6} .+|\*\*[^*\n]+\*\*:?|={2,} .+ ={2,}|-{2,} .+ -{2,}|\[[A-Z][^\]\n]*\])\s*")
_RULER = re.compile(r"(?:_{3,}|[^\w\s\ue000-\uf8ff]{3,})\s*")
_DELIMITER = re.compile(
    r"<\|[^|\n]{1,40}\|>|\[/?INST\]|</?s>|<(?:start|end)_of_turn>|\bends here\b|"
    r"^\W*(?:begin|start|end)(?: of)?(?: the)? \w+\W*$",
    re.IGNORECASE | re.MULTILINE,
)
_SPEAKER = re.compile(r"^(?:human|user|system|assistant|ai)\s*:", re.IGNORECASE | re.MULTILINE)
_FACT = re.compile(
    r"(?:today|the (?!following\b|previous\b|next\b)[\w' -]{1,40}) (?:is|are|was|were|said|asked|wrote|wants)[ ,:]+"
    r"[\"'`]?[\ue000-\uf8ff][\"'`]?[.]?",
    re.IGNORECASE,
)
_LAST_BELOW = re.compile(r"\b(?P<noun>[A-Za-z]+) below\b")


def is_heading(text: str) -> bool:
    """One line that names what comes after it."""
    return "\n" not in text.strip() and _HEADING.fullmatch(text.strip()) is not None


def heading_level(text: str) -> int:
    """The number of ``#`` of the heading that a block begins with; 0 without one."""
    found = re.match(r"(#{1,6}) ", text)
    return len(found[1]) if found is not None else 0


def separates(text: str) -> bool:
    """Whether a line is a ruler that parts sections; quotes and brackets rather open or close one."""
    return re.fullmatch(r"\s*([-=*_~#])\1{2,}\s*", text) is not None


def is_ruler(text: str) -> bool:
    """A line of punctuation between parts."""
    return _RULER.fullmatch(text.strip()) is not None


def delimits(text: str) -> bool:
    """Whether a block holds a mark of a chat template, or "BEGIN TEXT" and the like: what stands on the other side is
    another's words."""
    return _DELIMITER.search(text) is not None


def speaks(text: str) -> bool:
    """Whether a block holds a speaker of a transcript."""
    return _SPEAKER.search(text) is not None


def is_cue(text: str) -> bool:
    """Whether a last block must stand last: it opens the answer."""
    line = text.strip()
    count = len(line.split())
    if line.endswith(":") and "\n" not in line and count <= CUE_WORDS:
        return True  # with a value too: "{assistant}:"
    if not line or has_hole(line):
        return False
    if is_heading(line) or line.endswith(("```", "<", "{", "[")) or re.fullmatch(r"<[^/<>][^<>]*>|```\w*", line):
        return True
    if "\n" in line:
        return False
    return count <= CALL_WORDS and _CUE_START.match(line) is not None


def announces(text: str) -> bool:
    """Whether a block announces what comes after it: it ends with a colon, or says "the following" and holds no hole
    behind these words."""
    stripped = text.rstrip()
    if stripped.endswith(":"):
        return True
    return _open_announcement(stripped)


def _open_announcement(text: str) -> bool:
    for match in _AHEAD.finditer(text):
        rest = text[match.end() :]
        sentence = SENTENCE_END.split(rest)[0]
        # "Use the following format:" with the format behind it in the same block, or a value there.
        if not (sentence.endswith(":") and rest[len(sentence) :].strip()) and not has_hole(rest):
            return True
    return False


def says_below(text: str) -> re.Match[str] | None:
    """The one "<noun> below" of a block that announces nothing else; it can be said otherwise ("above")."""
    found = list(_LAST_BELOW.finditer(text))
    if len(found) != 1:
        return None
    without = text[: found[0].end() - len("below")] + text[found[0].end() :]
    return None if _open_announcement(without) or text.rstrip().endswith(":") else found[0]


def means_all_before(text: str) -> bool:
    """Whether constant text speaks of all that stands before it ("Ignore what you read so far."): what came to stand
    there would be meant too."""
    return _ALL_BEFORE.search(text) is not None


def states(text: str) -> bool:
    """Whether a block is a fact with one value that an instruction may stand before ("Today is {date}.")."""
    return _FACT.fullmatch(text.strip()) is not None


def opens_sequence(text: str) -> bool:
    """Whether a block is the first of steps that are told in order."""
    return _FIRST.match(text.strip()) is not None


def points_back(text: str, behind: str = "", values: str = "") -> bool:
    """Whether constant text refers to something before it that is not found in ``behind``, as ``leans`` says."""
    body = _said(text)
    return any(pattern.search(body) for pattern in (_FAR_BACK, _ALL_BEFORE)) or leans(text, behind, values)


def leans(text: str, behind: str = "", values: str = "") -> bool:
    """Whether constant text refers to what stands right before it ("It must be short.", "Then ..."), so that nothing
    may come between. ``behind``: constant text right before it, in which the first of a sequence is found, and what
    "these examples" means, unless the words around ``values`` farther up name such a thing too."""
    body = _said(text)
    if _NEAR_BACK.search(body) or _STARTS_WITH_THAT.match(body) or (_SEQUENCE.match(body) and not behind):
        return True
    position = 0
    for sentence in SENTENCE_END.split(body):
        start = body.index(sentence, position)
        position = start + len(sentence)
        for match in _PRONOUN.finditer(sentence):
            before = body[:start] + sentence[: match.start()]
            if not _resolved(match[0].lower(), before, sentence, match.end(), body):
                noun = _NOUN_BEHIND.match(sentence, match.end()) if match[0].lower() in _DEMONSTRATIVES else None
                if noun is None or not _names(behind, noun[1]) or _names(values, noun[1]):
                    return True
    return False


def _said(text: str) -> str:
    """What a block says to the model itself."""
    return _EXAMPLE.sub(" ", _FENCED.sub(" ", text)).strip()


def _names(text: str, noun: str) -> bool:
    """Whether text holds a noun, in the singular or plural."""
    return re.search(rf"\b{re.escape(noun.lower().removesuffix('s'))}", text, re.IGNORECASE) is not None


def _resolved(pronoun: str, before: str, sentence: str, end: int, body: str) -> bool:
    """Whether what a pronoun stands for is in the block itself."""
    if pronoun in _DEMONSTRATIVES:
        noun = _NOUN_BEHIND.match(sentence, end)
        if noun is not None and (_names(before, noun[1]) or (_RULES.match(noun[1]) and _RULES.search(before))):
            return True
        # "these points: ...", "this exact format: ..." with what is meant in the same block.
        named, colon, after = sentence[end:].partition(":")
        position = body.index(sentence) + len(sentence)
        meant = colon and (after.strip() or body[position:].strip())
        short = pronoun != "this" and len(named.split()) <= _NAMED_WORDS
        if meant and (short or not named.strip() or _LISTED.search(named)):
            return True
        if noun is not None:
            return False
    if re.match(r"\s+own\b", sentence[end:]):
        return True  # "each step on its own line"
    if pronoun in _OBJECTS and not re.search(r"\b(?:before|after)\s+$", before):
        # An object of a clause is not another part of the same clause: "Name three facts that support it".
        before = before[: max((match.end() for match in _CLAUSE_END.finditer(before)), default=0)]
    before = _OWN_PHRASE.sub(" ", before)
    return _NOUN_PHRASE.search(_NOT_NOUNS.sub(" ", before)) is not None


def asks(text: str) -> bool:
    """Whether a block with values is an instruction that stands for itself: a value with a label of its own may stand
    on either side of it ("Translate the text to {language}.")."""
    words = "".join("x" if is_hole(char) else char for char in text).strip()
    return (
        _IMPERATIVE.match(words) is not None
        and words.endswith((".", "!", "?"))
        and not any(pattern.search(words) for pattern in (_FAR_BACK, _NEAR_BACK, _AHEAD, _PRONOUN, _LAST_BELOW))
    )


def label_points_away(text: str) -> bool:
    """Whether the words around a hole refer to other blocks."""
    words = "".join(" " if is_hole(char) else char for char in text)
    return _BACK_IN_LABEL.search(words) is not None or _open_announcement(text)
