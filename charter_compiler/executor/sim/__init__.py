"""The target ``sim``: an engine's scheduler and cache model behind the same protocol as a server."""
