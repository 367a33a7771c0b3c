"""CORS preflight requests, answered for every path that is served."""

from __future__ import annotations

from answermesh.gateway.http.exchange import Exchange

# How long a browser may remember the answer, in seconds; Chromium's own cap.
_MAX_AGE_S = 7200


def is_preflight(exchange: Exchange) -> bool:
    """Whether a browser asks what it may do."""
    return (
        exchange.method == "OPTIONS"
        and "origin" in exchange.headers
        and "access-control-request-method" in exchange.headers
    )


async def answer_preflight(exchange: Exchange, allow: tuple[str, ...]) -> None:
    """204 with what is allowed; the origin's own header comes with every answer."""
    asked = exchange.headers.get("access-control-request-headers", "")
    headers = [
        (b"access-control-allow-methods", ", ".join(allow).encode("latin-1", "replace")),
        (b"access-control-max-age", str(_MAX_AGE_S).encode()),
    ]
    if asked and "\r" not in asked and "\n" not in asked:
        headers.append((b"access-control-allow-headers", asked.encode("latin-1", "replace")))
    await exchange.start(204, headers)
    await exchange.write(b"", more=False)
