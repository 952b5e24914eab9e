"""Read-only facts about an agent: shared prefixes, patterns of reuse, dependence and invariance."""
