"""The gateway: finds out what a request is, and hands it to who answers it. Also an ASGI application."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from grpc import StatusCode

from answermesh.gateway.http.asgi import AsgiExchange, Receive, Scope, Send
from answermesh.gateway.http.exchange import ClientGone, Exchange
from answermesh.gateway.http.http1 import Http1Exchange
from answermesh.gateway.metadata import Headers, to_headers
from answermesh.gateway.openapi.pages import Pages
from answermesh.gateway.options import Options
from answermesh.gateway.plan import Binding, Plan
from answermesh.gateway.protocols import connect, grpcweb
from answermesh.gateway.protocols.preflight import answer_preflight, is_preflight
from answermesh.gateway.protocols.rest import serve_rest
from answermesh.gateway.quick import QuickCall
from answermesh.gateway.routing.router import Match, WrongMethod
from answermesh.gateway.status import CallError, error_headers, error_json, refused, unavailable
from answermesh.gateway.telemetry.observer import Observer
from answermesh.gateway.upstream.bounded import BoundedStreams
from answermesh.gateway.upstream.calls import Upstream

_log = logging.getLogger("answermesh.gateway")
# What the log shows of a request whose client did not wait for the answer (nginx's number for it).
_CLIENT_GONE = 499
# Both are 200 only where requests can be served; the last as soon as, and as long as, the process answers at all.
_READY, _LIVE = ("/healthz", "/healthz/ready"), "/healthz/live"
_HEALTH = (*_READY, _LIVE)


class Gateway:
    """Answers HTTP requests by calls to `upstream`, as the current plan says.

    `plan` may be replaced at any time; a request keeps the one it started with. Without one, all but health is 503.
    """

    def __init__(
        self,
        upstream: Upstream,
        plan: Plan | None = None,
        options: Options | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.options = options or Options()
        self._observer = observer
        self._upstream = BoundedStreams(upstream, self.options.max_streams)
        self._plan: Plan | None = None
        self._pages: Pages | None = None
        # Set when a call found no upstream: its schema may be another one when it is back.
        self.upstream_lost = asyncio.Event()
        self._running: set[Exchange] = set()
        self._draining = False
        if plan is not None:
            self.use(plan)

    @property
    def has_plan(self) -> bool:
        """Whether there is anything to serve by."""
        return self._plan is not None

    @property
    def running(self) -> list[Exchange]:
        """The requests under way."""
        return list(self._running)

    def use(self, plan: Plan) -> None:
        """Serve by this plan from the next request on."""
        for problem in plan.problems:
            _log.warning("%s", problem)
        self._pages = Pages(plan)
        self._plan = plan

    def drain(self) -> None:
        """Cut the streams under way, for the server stops. Their clients come back to another one, or later."""
        self._draining = True
        for exchange in list(self._running):
            if exchange.started:
                exchange.cut()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One ASGI connection: HTTP; other kinds are refused."""
        if scope["type"] != "http":
            raise RuntimeError(f"the gateway does not speak {scope['type']}")
        task = asyncio.current_task()
        assert task is not None
        try:
            await self.handle(AsgiExchange(scope, receive, send, self.options, task.cancel))
        except asyncio.CancelledError:
            if not self._draining:
                raise

    def begin(self, exchange: Http1Exchange, finished: Callable[[bool], None]) -> QuickCall | None:
        """Answer one request without a task, and tell `finished` so; None if it must be handled."""
        plan, path = self._plan, exchange.path
        if plan is None or exchange.method == "OPTIONS" or path in plan.rpcs or path in _HEALTH or exchange.refusal:
            return None
        found = plan.router.match(exchange.method, path)
        body = exchange.body_at_hand()
        if found.__class__ is not Match or found.binding.streams or body is None:
            return None
        call = QuickCall(self, exchange, found.binding, finished)
        try:
            _check_sizes(exchange)
            started = call.start(self._upstream, found.segments, body)
        except Exception:
            # Whatever it is, `handle` meets it too, and knows how to tell.
            return None
        if not started:
            return None
        exchange.rpc = found.binding.method.name
        self._running.add(exchange)
        return call

    def ended(self, exchange: Exchange) -> None:
        """A request is over, however."""
        self._running.discard(exchange)
        exchange.status = exchange.status or _CLIENT_GONE
        if exchange.error is not None and exchange.error.code is StatusCode.UNAVAILABLE:
            self.upstream_lost.set()
        if self._observer is not None:
            self._observer.finished(exchange, time.perf_counter() - exchange.began_s)

    def forget(self, exchange: Exchange) -> None:
        """A request that began has to begin again."""
        self._running.discard(exchange)

    async def handle(self, exchange: Exchange) -> None:
        """Answer one request, whatever becomes of it."""
        self._running.add(exchange)
        try:
            await self._serve(exchange)
        except CallError as error:
            exchange.error = error
            await self._answer_error(exchange, error)
        except ClientGone:
            pass
        except Exception:
            _log.exception("request %s failed for a fault of the gateway", exchange.request_id)
            if not exchange.started:
                await self._answer_error(exchange, CallError(StatusCode.INTERNAL, "The gateway failed; see its log."))
        finally:
            self.ended(exchange)

    async def _serve(self, exchange: Exchange) -> None:
        if exchange.refusal is not None:
            raise exchange.refusal
        _check_sizes(exchange)
        plan = self._plan
        if plan is None or exchange.path in _HEALTH:
            await self._serve_own(exchange, plan)
        elif (binding := plan.rpcs.get(exchange.path)) is not None:
            exchange.rpc = binding.method.name
            await self._serve_rpc(exchange, plan, binding)
        elif exchange.method == "OPTIONS" and is_preflight(exchange):
            await self._serve_preflight(exchange, plan)
        else:
            found = plan.router.match(exchange.method, exchange.path)
            if isinstance(found, Match):
                exchange.rpc = found.binding.method.name
                await serve_rest(exchange, plan, found.binding, found.segments, self._upstream)
            elif found is None:
                await self._serve_unknown(exchange, plan)
            else:
                raise _wrong_method(exchange, found.allow)

    async def _serve_rpc(self, exchange: Exchange, plan: Plan, binding: Binding) -> None:
        """A method by its own path: gRPC-Web, Connect, or plain JSON."""
        if is_preflight(exchange):
            await answer_preflight(exchange, ("POST",))
        elif grpcweb.is_grpc_web(exchange):
            exchange.protocol = "grpc-web"
            await grpcweb.serve_grpc_web(exchange, binding, self._upstream)
        elif connect.is_connect(exchange):
            exchange.protocol = "connect"
            await connect.serve_connect(exchange, plan, binding, self._upstream)
        elif exchange.method == "POST":
            await serve_rest(exchange, plan, binding, (), self._upstream)
        else:
            raise _wrong_method(exchange, ("POST",))

    async def _serve_preflight(self, exchange: Exchange, plan: Plan) -> None:
        method = exchange.headers["access-control-request-method"]
        found = plan.router.match(method, exchange.path)
        if found is None:
            await self._serve_unknown(exchange, plan)
        else:
            await answer_preflight(exchange, found.allow if isinstance(found, WrongMethod) else (method,))

    async def _serve_unknown(self, exchange: Exchange, plan: Plan) -> None:
        if exchange.method in ("GET", "HEAD") and await self._serve_page(exchange):
            return
        path = exchange.path[:200]
        missing = CallError(StatusCode.UNIMPLEMENTED, f"There is no method {path}.", http_status=404)
        if grpcweb.is_grpc_web(exchange):
            await grpcweb.answer_error(exchange, missing)
        elif connect.is_connect(exchange):
            await connect.answer_error(exchange, plan.registry, missing)
        else:
            raise refused(
                "UNKNOWN_PATH", f"Nothing is served at {path!r}; /docs shows what is.", code=StatusCode.NOT_FOUND
            )

    async def _serve_own(self, exchange: Exchange, plan: Plan | None) -> None:
        """Health; and all else while nothing is known of the service."""
        if exchange.path in _READY:
            await self._answer_health(exchange, serving=plan is not None and not self._draining)
        elif exchange.path == _LIVE:
            await self._answer_health(exchange, serving=True)
        elif not await self._serve_metrics(exchange):
            raise unavailable("The gateway has not yet learned what the service offers; try again in a second.")

    async def _answer_health(self, exchange: Exchange, *, serving: bool) -> None:
        status = b"SERVING" if serving else b"NOT_SERVING"
        await exchange.answer(200 if serving else 503, "application/json", b'{"status":"%b"}' % status)

    async def _serve_page(self, exchange: Exchange) -> bool:
        assert self._pages is not None, "there is a plan"
        return await self._pages.serve(exchange) or await self._serve_metrics(exchange)

    async def _serve_metrics(self, exchange: Exchange) -> bool:
        if exchange.path != "/metrics" or self._observer is None or not self.options.metrics:
            return False
        await exchange.answer(200, *self._observer.page())
        return True

    async def _answer_error(self, exchange: Exchange, error: CallError) -> None:
        await exchange.answer(*self.error_answer(error))

    def error_answer(self, error: CallError) -> tuple[int, str, bytes, Headers]:
        """Status, content type, body and headers that tell of an error."""
        registry = self._plan.registry if self._plan else None
        headers = to_headers(error.metadata)
        headers += [(name.encode(), value.encode()) for name, value in error_headers(error)]
        body = error_json(error, registry, envelope=self.options.error_envelope)
        return error.http_status, "application/json", body, headers


def _check_sizes(exchange: Exchange) -> None:
    options = exchange.options
    if len(exchange.path) + len(exchange.query) > options.max_url_bytes:
        raise refused("URL_TOO_LONG", f"The URL is longer than {options.max_url_bytes} bytes.", http_status=414)
    if exchange.head_exceeds(options.max_header_bytes):
        raise refused(
            "HEADERS_TOO_LARGE", f"The headers hold more than {options.max_header_bytes} bytes.", http_status=431
        )


def _wrong_method(exchange: Exchange, allow: tuple[str, ...]) -> CallError:
    listed = ", ".join(allow)
    return refused(
        "WRONG_METHOD",
        f"{exchange.method} is not served at this path; use {listed}.",
        code=StatusCode.UNIMPLEMENTED,
        http_status=405,
        headers=[("allow", listed)],
    )
