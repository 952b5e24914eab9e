"""The agent that is planned for: five calls an item, all of which begin with what the items of one company share."""

RULES = "You answer for a company. Be brief, and name the page that you took it from. "


def answer(company, question, llm):
    facts = llm.generate(f"{RULES}{company}\nList the facts that bear on: {question}", max_tokens=24)
    draft = llm.generate(f"{RULES}{company}\nFacts: {facts}\nAnswer: {question}", max_tokens=24)
    checked = llm.generate(f"{RULES}{company}\nCheck this answer: {draft}", max_tokens=16)
    short = llm.generate(f"{RULES}{company}\nIn one sentence: {draft} {checked}", max_tokens=16)
    return llm.generate(f"{RULES}{company}\nA title for: {short}", max_tokens=8)
