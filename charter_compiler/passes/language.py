"""Whether the words of a prompt are English: the rules of what a block refers to are word lists of English.

A rule of thumb, in doubt against English: a call site that is taken for another language is left as written, which
costs tokens; one that is wrongly taken for English may lose a reference ("den obigen Text").
"""

from __future__ import annotations

import re

from charter_compiler.ir.nodes import Call, Const
from charter_compiler.passes.references import SENTENCE_END

MIN_WORDS = 8
"""Fewer words may be English without a function word ("Name five tags. Article: Tags:")."""
MIN_SHARE = 0.1
"""Of so many words or more, the part that are English function words: 12.5% or more in the templates of the tests and
the example agents."""


def _set(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH = _set(
    "a about above after again all an and any are as at be been before below between but by can could did do does each",
    "every for from had has have he here how i if in into is it its just may me more most must my no not of on one",
    "only or other our out over same she should so some such than that the their them then there these they this those",
    "to too under up was we were what when where which who whose why will with without would you your",
)
_ONLY_ENGLISH = _ENGLISH - _set("a all an as at be do had has he i in is it me my no of on over so to up was we")
"""Without those that other languages have too: in one sentence these decide nothing."""
_OTHER = _set(
    # German
    "aber antworte auch auf aus beantworte bei bitte das dein deine dem den der des diese diesem diesen dieser dieses",
    "du ein eine einem einen einer eines es fasse im ist kein keine mit nach nenne nicht nur oben obige obigem obigen",
    "obiger oder schreibe sie sind und vom von vorherige vorherigen vorstehenden wie wird zu zum zur zusammen",
    # French
    "au aux avec ce ceci cela ces cet cette dans de dessous dessus elle est il ils je la le les leur ou que qui",
    "sont sur texte une vous",
    # Spanish and Portuguese
    "acima arriba como da dos el ella ele entre este esto las los lo pela pelo pero por responda",
    "responde resuma texto uma una uno",
    # Italian and Dutch
    "bovenstaande che di een gli het nel nella niet questo riassumi rispondi sono sopra tekst testo voor zijn",
)
"""Common words of other languages, and what their prompts say of a text. None is a common English word ("die", "pour",
"con") or a common part of one ("et al.")."""
_LOANS = _set("café cafés cliché clichés déjà façade naïve née résumé résumés")


def reads_english(call: Call) -> bool:
    """Whether the constant texts of a call site are English, but for what its assistant said before. They are not if a
    sentence has as many words of another language as it has of English, or if hardly any of all words is an English
    function word."""
    texts = [
        " ".join(segment.text for segment in message.segments if isinstance(segment, Const))
        for message in call.messages
        if message.role != "assistant"
    ]
    sentences = [_words(sentence) for text in texts for sentence in SENTENCE_END.split(text)]
    if any(map(_is_foreign, sentences)):
        return False
    words = [word for sentence in sentences for word in sentence]
    return len(words) < MIN_WORDS or sum(word in _ENGLISH for word in words) >= MIN_SHARE * len(words)


def _words(sentence: str) -> list[str]:
    """In small letters, but for names and abbreviations ("Los Angeles", "DE"): words behind the first with a capital
    from A to Z."""
    found = enumerate(_WORD.findall(sentence))
    return [word.lower() for place, word in found if place == 0 or word.islower() or not word.isascii()]


def _is_foreign(words: list[str]) -> bool:
    foreign = sum(word in _OTHER or (not word.isascii() and word not in _LOANS) for word in words)
    return foreign > 0 and foreign >= sum(word in _ONLY_ENGLISH for word in words)
