"""The trace that a request belongs to, by W3C Trace Context.

`traceparent` and `tracestate` are passed on as they came, readable or not: the gateway adds no span of its own, so it
is what the specification calls a pass-through, and who reads them next starts a trace anew where they cannot be read.
"""

from __future__ import annotations

import re

# Versions after 00 may have more fields; ff is forbidden. All zeros are no id.
_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


def trace_id(traceparent: str) -> str:
    """The id, 32 hexadecimal digits; "" for none, or for a header that cannot be read."""
    match = _PARENT.fullmatch(traceparent.strip())
    if match is None or (match[2] is not None and traceparent.startswith("00")):
        return ""
    return match[1]
