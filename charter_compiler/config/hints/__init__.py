"""Hints in the words of engines, routers and providers, and which of them a target takes."""
