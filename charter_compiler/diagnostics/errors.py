"""Every error that Charter raises on purpose.

    CharterError
    ├── UsageError                    the command line or an argument is wrong
    │   └── SpendingLimitError        what was asked for may cost more than was allowed
    ├── SourceError                   agent source that cannot be read or parsed
    ├── EntryError                    the entry is missing, or its inputs do not fit it
    ├── InputsError                   a line of an inputs file is broken
    ├── VerificationError             IR that breaks a rule (a defect in Charter)
    ├── IRSyntaxError                 the text form of the IR does not parse
    ├── PlanError                     a plan that is stale, foreign or of an unknown version
    ├── ConfigError                   an engine configuration that cannot be generated or read
    ├── TokenizerError                no tokenizer, or one that cannot be read
    ├── ModelError                    model weights that are missing, broken or unknown
    ├── OutputError                   results cannot be written
    ├── MemoError                     the memo store cannot be opened, read or written
    ├── LayoutRefusedError            a layout changed the agent's outputs more than was allowed
    ├── BudgetError                   a run has used up what it may
    ├── AgentError                    the user's agent raised
    ├── ServerStartError              the embedded server did not start
    │   └── PortInUseError
    └── TargetError                   what a model server did, or failed to do
        ├── TargetUnavailableError    nothing answers there (retried where safe)
        ├── TargetTimeoutError        a deadline passed
        ├── TargetOverloadedError     it asks us to come back later (retried)
        ├── TargetProtocolError       it answered something that we do not understand
        ├── AuthenticationError
        ├── UnknownModelError         the server runs, the model does not
        ├── RequestCancelledError     we, or the server, cancelled it
        └── RequestRejectedError      the request itself is wrong (never retried)
            ├── ContextLengthError    prompt and output do not fit the context
            └── NoCapacityError       a cloud has no such instance to give now

Foreign exceptions are mapped to this tree at the boundary where they enter, once (`executor/grpc_errors.py` for
gRPC); nothing above that boundary catches a foreign type.
"""

from __future__ import annotations


class CharterError(Exception):
    """Prints as one line: place, cause, remedy.

    ``place`` names a file and line, a port or a target; ``remedy`` says what to do. ``exit_code`` is what the command
    line returns for it.
    """

    exit_code = 1

    def __init__(self, message: str, *, place: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        remedy = f" ({self.remedy})" if self.remedy else ""
        return f"{place}{self.message}{remedy}"


class UsageError(CharterError):
    """The command line or an argument is wrong."""

    exit_code = 2


class SourceError(CharterError):
    """Agent source that cannot be read or parsed."""


class EntryError(CharterError):
    """The entry is missing, or its inputs do not fit it."""


class InputsError(CharterError):
    """A line of an inputs file is broken."""


class VerificationError(CharterError):
    """IR that breaks a rule: a defect in Charter, not in the user's program."""


class IRSyntaxError(CharterError):
    """The text form of the IR does not parse."""


class PlanError(CharterError):
    """A plan that is stale, foreign or of an unknown version."""


class ConfigError(CharterError):
    """An engine configuration that cannot be generated or read."""


class TokenizerError(CharterError):
    """No tokenizer, or one that cannot be read."""


class ModelError(CharterError):
    """Model weights that are missing, broken or unknown."""


class OutputError(CharterError):
    """Results cannot be written."""


class MemoError(CharterError):
    """The memo store cannot be opened, read or written. ``damaged``: its file is not what it should be."""

    def __init__(
        self, message: str, *, place: str | None = None, remedy: str | None = None, damaged: bool = False
    ) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.damaged = damaged


class LayoutRefusedError(CharterError):
    """A layout changed the agent's outputs more than was allowed."""


class BudgetError(CharterError):
    """A run has used up what it may."""


class AgentError(CharterError):
    """The user's agent raised."""


class ServerStartError(CharterError):
    """The embedded server did not start."""


class PortInUseError(ServerStartError):
    """Something else listens on a port that was asked for."""


class TargetError(CharterError):
    """What a model server did, or failed to do."""


class TargetUnavailableError(TargetError):
    """Nothing answers there."""


class TargetTimeoutError(TargetError):
    """A deadline passed."""


class TargetOverloadedError(TargetError):
    """The server asks us to come back later; ``retry_after`` is in seconds where it says when."""

    def __init__(
        self, message: str, *, place: str | None = None, remedy: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message, place=place, remedy=remedy)
        self.retry_after = retry_after


class TargetProtocolError(TargetError):
    """The server answered something that we do not understand."""


class AuthenticationError(TargetError):
    """The server wants other credentials."""


class UnknownModelError(TargetError):
    """The server runs, the model does not."""


class RequestCancelledError(TargetError):
    """We, or the server, cancelled the request."""


class RequestRejectedError(TargetError):
    """The request itself is wrong; sending it again would not help."""


class ContextLengthError(RequestRejectedError):
    """Prompt and output do not fit the context or the KV cache."""


class NoCapacityError(RequestRejectedError):
    """A cloud has no instance of that type in that region now."""


class SpendingLimitError(UsageError):
    """What was asked for may cost more than was allowed."""
