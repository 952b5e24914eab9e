"""The memo store: answers of calls that would be the same again, kept beyond a run."""
