"""Rewrites of the IR, one a file; the tuple of those that run by default stands in ``pipeline``."""
