"""The graph of calls: which results flow into which prompts, and which calls stand in the same loop."""
