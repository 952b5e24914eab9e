"""What is said to the user: spans, diagnostics and the one error tree. Imports nothing else of the project."""

from charter_compiler.diagnostics.diagnostic import Diagnostic, Severity
from charter_compiler.diagnostics.span import Span

__all__ = ["Diagnostic", "Severity", "Span"]
