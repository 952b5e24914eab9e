"""The token-exact model of an engine's KV cache; the embedded engine runs on the same code."""
