"""Bytes to requests, by httptools (llhttp): heads put together and measured, bodies handed on as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from answermesh.gateway.http.http1 import Http1Exchange
from answermesh.gateway.http.malformed import malformed, no_single_host, origin_form
from answermesh.gateway.metadata import Headers
from answermesh.gateway.status import CallError

if TYPE_CHECKING:
    from answermesh.gateway.http.connection import Connection

_METHODS = {method.encode(): method for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")}


class Incoming:
    """The requests that come in on one connection, which is told of each head, and of its body."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._parser = httptools.HttpRequestParser(self)
        # Whether a head has begun that is not whole yet, and what came of it in earlier chunks.
        self.in_head = False
        self.head_bytes = 0
        # The newest request whose head is whole.
        self.arriving: Http1Exchange | None = None
        # The size of the chunk that is looked at.
        self._chunk_bytes = 0
        self._hosts = 0
        self._url = b""
        self._headers: Headers = []

    def feed(self, data: bytes) -> CallError | None:
        """Take in what came; why it is not HTTP, if so."""
        while True:
            self._chunk_bytes = len(data)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # We upgrade to nothing, and take the request as any other; what follows needs a new parser.
                self._parser = httptools.HttpRequestParser(self)
                data = data[upgrade.args[0] :]
                if self._connection.deaf:
                    return None
            except httptools.HttpParserError as error:
                return malformed(error)
            else:
                return None

    # ------------------------------------------------------------ the parser
    def on_message_begin(self) -> None:
        """A request begins."""
        self.in_head = True
        self.head_bytes = 0
        self.arriving = None
        self._hosts = 0
        self._url = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers are not looked at."""
        if self.in_head:
            name = name.lower()
            if name == b"host":
                self._hosts += 1
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head has come."""
        self.in_head = False
        parser = self._parser
        is_1_1 = parser.get_http_version() == "1.1"
        target = self._url.decode("latin-1")
        if target[:1] != "/":
            target = origin_form(target)
        path, _, query = target.partition("?")
        sent_method = parser.get_method()
        method = _METHODS.get(sent_method) or sent_method.decode()
        exchange = Http1Exchange(self._connection, method, path, query, self._headers, is_1_1=is_1_1)
        exchange.keep_alive = parser.should_keep_alive()
        exchange.most_head_bytes = self.head_bytes + self._chunk_bytes
        if self._hosts != 1 and (is_1_1 or self._hosts):
            exchange.refusal = no_single_host()
        self.arriving = exchange
        self._connection.on_request(exchange)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        exchange = self.arriving
        assert exchange is not None
        exchange.received.append(body)
        exchange.received_bytes += len(body)
        exchange.untaken_bytes += len(body)
        self._connection.on_body(exchange)

    def on_message_complete(self) -> None:
        """The request has come to its end."""
        assert self.arriving is not None
        self.arriving.whole = True
        self._connection.on_body_end()
