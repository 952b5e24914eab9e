"""One run of an agent: its items, what ends it, and what becomes of their results."""
