"""What the gateway serves about itself: /openapi.json and /docs, made when first asked for.

A path of the service comes first: these are looked up only where no rule matches.
"""

from __future__ import annotations

from importlib import resources

import orjson

from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.openapi.document import document
from answermesh.gateway.plan import Plan

_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"


class Pages:
    """The pages of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._openapi = b""

    async def serve(self, exchange: Exchange) -> bool:
        """Answer if the path is one of the pages; else False."""
        if exchange.path == "/openapi.json":
            if not self._openapi:
                self._openapi = orjson.dumps(document(self._plan, exchange.root or "/"))
            await exchange.answer(200, "application/json", self._openapi)
            return True
        if exchange.path in ("/docs", "/docs/"):
            page = resources.files(__package__).joinpath("docs.html").read_bytes()
            await exchange.answer(200, "text/html; charset=utf-8", page, [(b"content-security-policy", _POLICY)])
            return True
        return False
