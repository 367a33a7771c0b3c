"""A bound on how deep JSON may be nested before the native parser sees it.

protobuf-py bounds the messages that it reads, but not a value where a message wants another: it reads that whole, by
recursion, and some 15,000 brackets end the process. orjson stops at 1024, far below that.
"""

from __future__ import annotations

import orjson

from answermesh.gateway.status import refused

# Fewer brackets than these cannot be nested dangerously deep, and most bodies have fewer: counting them is cheap.
_HARMLESS = 1000


def check_nesting(text: bytes) -> None:
    """Raises CallError (400) for JSON whose nesting would overflow the parser's stack; other faults pass."""
    if text.count(b"[") + text.count(b"{") <= _HARMLESS:
        return
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:
            raise refused("INVALID_JSON", "The JSON is nested deeper than 100 levels.") from error
