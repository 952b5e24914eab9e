"""Which calls are model calls: one small file an SDK, each a table of ``Signature``; ``SIGNATURES`` lists them all.

To add an SDK, write ``<name>.py`` with a tuple ``SIGNATURES`` and add it here; a fixture in
``tests/fixtures/parser/sdk`` shows that it is found.
"""

from __future__ import annotations

from charter_compiler.parser.sdk import anthropic, litellm, openai
from charter_compiler.parser.sdk.signature import Signature

SIGNATURES: tuple[Signature, ...] = (*openai.SIGNATURES, *anthropic.SIGNATURES, *litellm.SIGNATURES)

BY_CALLEE = {callee: signature for signature in SIGNATURES for callee in signature.callees}
BY_TAIL = {tail: signature for signature in SIGNATURES for tail in signature.tails}
CLIENT_CLASSES = frozenset(callee.partition("()")[0] for callee in BY_CALLEE if "()" in callee)
"""Classes whose instances are clients: a parameter annotated with one is known to be one."""
