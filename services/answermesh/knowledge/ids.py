"""Resource ids that follow from what they name, so that the same import gives the same names anywhere."""

from __future__ import annotations

import hashlib
from base64 import b32encode

# 100 bits: two of a billion names collide with a probability of about 1e-12.
_ID_CHARS = 20


def document_id(uri: str) -> str:
    """The id of the document of that uri."""
    return _digest(uri)


def entity_id(key: str) -> str:
    """The id of the entity of that key."""
    return _digest(key)


def document_name(identifier: str) -> str:
    """`documents/{document}`."""
    return f"documents/{identifier}"


def passage_name(identifier: str, ordinal: int) -> str:
    """`documents/{document}/passages/{passage}`."""
    return f"documents/{identifier}/passages/{ordinal}"


def entity_name(identifier: str) -> str:
    """`entities/{entity}`."""
    return f"entities/{identifier}"


def _digest(text: str) -> str:
    return b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:_ID_CHARS]
