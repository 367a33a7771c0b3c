"""Identifiers of findings: the same finding gets the same one, whenever and wherever it is made again."""

from __future__ import annotations

import hashlib


def identifier(kind: str, *content: object) -> str:
    """An identifier of at most 64 characters that follows from what makes the finding the one it is."""
    digest = hashlib.sha256("\0".join(map(str, content)).encode()).hexdigest()
    return f"{kind}-{digest[:32]}"
