"""The codes of the checks: what each is about, in a few words. docs/diagnostics/ has a page for each."""

from __future__ import annotations

from charter_compiler.diagnostics.diagnostic import Severity

CODES: dict[str, tuple[str, Severity]] = {
    "CH001": ("The prompt of a call cannot be read from the source", Severity.NOTE),
    "CH101": ("A part that varies stands before constant text", Severity.WARNING),
    "CH102": ("A loop item stands before what is the same in every turn", Severity.WARNING),
    "CH103": ("Few-shot examples stand after the query", Severity.WARNING),
    "CH104": ("A volatile value stands early in the prompt", Severity.WARNING),
    "CH105": ("Text or tools without a fixed order stand early in the prompt", Severity.WARNING),
    "CH106": ("Near-identical constants part the prefix of two calls", Severity.WARNING),
    "CH107": ("A prefix that is marked for a cache is too short for it", Severity.WARNING),
    "CH108": ("A conversation is rewritten in front instead of extended", Severity.WARNING),
    "CH201": ("A call does not change in the loop around it", Severity.WARNING),
    "CH202": ("The same call is made twice", Severity.WARNING),
    "CH203": ("Independent calls are awaited one after another", Severity.WARNING),
    "CH204": ("The result of a call is never used", Severity.WARNING),
    "CH301": ("The tools of a call act on the outside", Severity.NOTE),
}
"""Title and level of each code."""
