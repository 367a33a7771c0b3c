"""Requests answered without a task: one message each way, over a client that tells the end of a call at once.

Most requests are of this kind, and a task with its futures would be a good part of what they cost. Those that have to
wait for anything but the upstream are the application's to `handle`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from grpc import StatusCode

from answermesh.gateway.http.http1 import Http1Exchange
from answermesh.gateway.plan import Binding
from answermesh.gateway.protocols.rest import unary_answer, unary_request
from answermesh.gateway.status import CallError
from answermesh.gateway.upstream.calls import Reply, Started, Unprocessed, Upstream

if TYPE_CHECKING:
    from answermesh.gateway.application import Gateway

_log = logging.getLogger("answermesh.gateway")


class QuickCall:
    """One request whose answer is written when the upstream's comes. Also the call's Completion."""

    __slots__ = ("_binding", "_exchange", "_finished", "_gateway", "_over", "_started")

    def __init__(
        self, gateway: Gateway, exchange: Http1Exchange, binding: Binding, finished: Callable[[bool], None]
    ) -> None:
        """`finished` is told whether the request has been answered; if not, it has to be handled."""
        self._gateway = gateway
        self._exchange = exchange
        self._binding = binding
        self._finished = finished
        self._over = False
        self._started: Started | None = None

    def start(self, upstream: Upstream, segments: Sequence[str], body: bytes) -> bool:
        """Whether the call is under way. Raises CallError for a request that is none."""
        request, metadata, timeout_s = unary_request(self._exchange, self._binding, segments, body)
        self._started = upstream.start(self._binding.method.path, request, metadata, timeout_s, self)
        return self._started is not None

    def cancel(self) -> None:
        """The client is gone: cancel the RPC."""
        if not self._over:
            self._over = True
            if self._started is not None:
                self._started.cancel()
            self._gateway.ended(self._exchange)

    # ------------------------------------------------------------ Completion
    def done(self) -> bool:
        """See Completion."""
        return self._over

    def set_result(self, reply: Reply, /) -> None:
        """See Completion."""
        try:
            content_type, body, headers = unary_answer(self._binding, reply)
            self._exchange.answer_now(200, content_type, body, headers)
        except CallError as error:
            self._refuse(error)
        except Exception:
            # Must not reach the connection that tells us.
            _log.exception("request %s failed for a fault of the gateway", self._exchange.request_id)
            self._refuse(CallError(StatusCode.INTERNAL, "The gateway failed; see its log."))
        self._end(answered=True)

    def set_exception(self, error: CallError, /) -> None:
        """See Completion."""
        if isinstance(error, Unprocessed):
            self._end(answered=False)
        else:
            self._refuse(error)
            self._end(answered=True)

    def _refuse(self, error: CallError) -> None:
        self._exchange.error = error
        self._exchange.answer_now(*self._gateway.error_answer(error))

    def _end(self, *, answered: bool) -> None:
        self._over = True
        if answered:
            self._gateway.ended(self._exchange)
        else:
            self._gateway.forget(self._exchange)
        self._finished(answered)
