"""Pages of lists: their sizes, and opaque tokens that say where the next one starts.

A token holds the position of the last row and a digest over it, the tenant and a scope: the method with all arguments
that must stay the same from page to page. So a token that was changed, cut, or given out for another list is refused
instead of returning a wrong page. The digest has no secret: it guards against mistakes. Who forges one gains nothing,
for a position only says where to start among the rows that its tenant may read anyway.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence

from answermesh.errors import Failure, Reason, invalid_field
from answermesh.rpc.tenancy import current_tenant

# 64 bits: a mistake passes once in 2^64.
_DIGEST_BYTES = 8
# Positions are sort keys; the longest is a uri.
_MAX_TOKEN_CHARS = 16_384


def page_size(value: int, *, default: int = 50, maximum: int = 1000) -> int:
    """Rows that a page holds: `default` for 0, at most `maximum`. Raises Failure(INVALID_FIELD) below 0."""
    if value < 0:
        raise invalid_field("page_size", f"is {value}; must be 0 (for {default}) to {maximum}.")
    return min(value or default, maximum)


def encode_token(scope: str, position: Sequence[str | int]) -> str:
    """The token that leads to the rows after `position`.

    `scope` is the method with its other arguments, e.g. f"ListQueries {request.filter}".
    """
    body = json.dumps(list(position), separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(_digest(scope, body) + body).rstrip(b"=").decode()


def decode_token(scope: str, token: str) -> list[str | int] | None:
    """The position that `token` was made of; None for "", which is the first page.

    Raises Failure(INVALID_PAGE_TOKEN) for all that `encode_token` did not make for this scope and tenant.
    """
    if not token:
        return None
    try:
        if len(token) > _MAX_TOKEN_CHARS:
            raise ValueError("too long")
        raw = base64.b64decode(token.encode("ascii") + b"=" * (-len(token) % 4), altchars=b"-_", validate=True)
        # Base64 has spare bits at its end; only one spelling is ours.
        if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != token:
            raise ValueError("not as given out")
        digest, body = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if not hmac.compare_digest(digest, _digest(scope, body)):
            raise ValueError("digest differs")
        position: list[str | int] = json.loads(body)
    except (ValueError, binascii.Error, RecursionError) as error:
        raise Failure(
            Reason.INVALID_PAGE_TOKEN,
            "page_token was not given out by this method for the same other arguments; start again with an empty one.",
        ) from error
    return position


def _digest(scope: str, body: bytes) -> bytes:
    mac = hashlib.blake2b(digest_size=_DIGEST_BYTES, person=b"answermesh.page")
    for part in (current_tenant().encode(), scope.encode(), body):
        # With lengths, so that no two different triples are the same bytes.
        mac.update(len(part).to_bytes(8, "big") + part)
    return mac.digest()
