"""Charter Compiler: an optimizing compiler for LLM agent programs.

Import from the layers (``charter_compiler.parser.ast_parser`` and so on) or from ``charter_compiler.api``; no module of
the package imports this one.
"""

__version__ = "0.1.0"
