"""Text to tokens and back: tokenizers, chat templates, stable token prefixes, block hashes, and the model registry."""
