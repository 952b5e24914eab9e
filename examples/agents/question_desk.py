"""Question desk: each question passes three clerks, each of whom has a handbook that is far longer than the question.

A plain agent, as its author first wrote it. What its prompts share is not in the item but in the stage.
"""

from __future__ import annotations

from typing import Any

TRIAGE = """Handbook of the first clerk: which kind of question is it?
1. A lookup asks for one figure that stands in a table as it is. Words such as "what was", "how much" and "in 2019" with
a single year point to it. The clerk never computes anything to answer a lookup.
2. A change asks how a figure moved between two dates: "increase", "decline", "change", "growth". It needs two figures,
and the older one is subtracted from the newer one. If the question says "percent", it is still a change.
3. A ratio divides one figure by another of the same date: "share", "proportion", "as a percentage of", "per".
4. A total adds figures of one table, down a column or along a row: "total", "sum", "altogether", "combined".
5. An average names itself: "average", "mean", "on average over". The period counts, not the words around it.
6. A judgement asks for an opinion on the business: "why", "is it likely", "what does this say about". It is never
answered from a table alone, and goes to a person.
Where two kinds fit, take the one with the lower number. Where none fits, write "other". Do not explain the choice."""

POLICY = """Handbook of the second clerk: may the desk answer it, and on what condition?
1. Figures of annual reports that have been filed may be given to anybody. Figures of drafts may not be given at all.
2. A figure that was restated later is given with the year of the restatement. The clerk asks for it to be checked.
3. Forecasts are not figures. A question about a year that has not ended is answered with a refusal and the reason.
4. Amounts in other currencies are left in the currency of the report. Nobody at the desk converts an amount.
5. Questions about persons, their pay included, go to the press office, unless the table lists the pay of the board.
6. Per-share figures are given with the word "basic" or "diluted"; where the question says neither, both are given.
7. A customer who asks for advice on buying or selling is told, politely, that the desk gives none.
8. When the question names a company that the report is not about, the desk says so and answers nothing else.
Write "yes", "no" or "check", then the number of the rule, then at most ten words. If no rule fits, write "yes, 0"."""

PLAN = """Handbook of the third clerk: how is it worked out?
1. Name the table first, then the row, then the column. A plan that does not name a row cannot be carried out.
2. Write each step as one line with one operation: find, subtract, divide, add, round. No line has two of them.
3. Units come with every figure: thousands, millions, shares, percent. A step that loses a unit is wrong.
4. Divide before rounding and never after; round once, at the end, to one decimal unless the question says otherwise.
5. A change in percent divides by the older figure. A share divides by the total that stands in the same table.
6. Where a figure in brackets stands for a negative one, the plan writes the minus sign.
7. A step that needs a figure that no table has is written as "ask the report desk for", with the name of the figure.
8. The last line repeats what was asked in the words of the question, so that the customer can see that it was read.
A good plan has three to five lines. Do not work the answer out; somebody else does, with a calculator."""


class QuestionDesk:
    """``client`` offers ``generate(prompt, max_tokens) -> str``."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def handle(self, questions: list[str]) -> dict[str, str]:
        question = questions[0]
        kind = self.client.generate(f"{TRIAGE}\n\nQuestion: {question}\nKind:", max_tokens=6)
        allowed = self.client.generate(f"{POLICY}\n\nQuestion: {question}\nKind: {kind}\nAllowed:", max_tokens=12)
        plan = self.client.generate(f"{PLAN}\n\nQuestion: {question}\nKind: {kind}\nPlan:", max_tokens=24)
        return {"kind": kind, "allowed": allowed, "plan": plan}
