"""Runs an agent's control flow without a model and asks the engine's own scheduler and cache what would happen."""
