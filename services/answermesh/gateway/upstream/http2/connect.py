"""A connection from nothing to the peer's settings."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from answermesh.gateway.upstream.http2.connection import Connection
from answermesh.gateway.upstream.http2.options import Http2Options
from answermesh.gateway.upstream.http2.targets import Address


async def connect(address: Address, options: Http2Options, make: Callable[[], Connection]) -> Connection:
    """An open connection made by `make`. Raises OSError, also for one that was not open in time."""
    made: list[Connection] = []

    def protocol() -> Connection:
        made.append(make())
        return made[-1]

    try:
        async with asyncio.timeout(options.connect_timeout_s):
            transport = await _transport(address, options, protocol)
            _check_protocol(transport, options)
            return await _opened(made[-1])
    except TimeoutError:
        raise ConnectionError(f"not there within {options.connect_timeout_s} s") from None
    finally:
        for connection in made:
            if not connection.opened.done():
                connection.abort("it was not made")


async def _transport(
    address: Address, options: Http2Options, protocol: Callable[[], Connection]
) -> asyncio.BaseTransport:
    loop = asyncio.get_running_loop()
    name = options.server_name if options.tls is not None else None
    if address.path:
        # With a name only: there is nothing else that a certificate could be compared with.
        unix = await loop.create_unix_connection(protocol, address.path, ssl=options.tls, server_hostname=name)
        return unix[0]
    if options.tls is not None:
        name = name or address.host
    tcp = await loop.create_connection(protocol, address.host, address.port, ssl=options.tls, server_hostname=name)
    return tcp[0]


def _check_protocol(transport: asyncio.BaseTransport, options: Http2Options) -> None:
    if options.tls is None:
        return
    secured: ssl.SSLObject = transport.get_extra_info("ssl_object")
    if secured.selected_alpn_protocol() != "h2":
        raise ConnectionError("the server does not speak HTTP/2 over TLS (ALPN h2)")


async def _opened(connection: Connection) -> Connection:
    await asyncio.wait((connection.opened, connection.closed), return_when=asyncio.FIRST_COMPLETED)
    if connection.closed.done():
        raise ConnectionError(connection.closed.result())
    return connection
