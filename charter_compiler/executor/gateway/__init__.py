"""An OpenAI- and Anthropic-compatible front of a target, for agents in any language."""
