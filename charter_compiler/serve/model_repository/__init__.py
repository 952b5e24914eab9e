"""The models that Triton's Python backend runs: a module each, and what they share."""
