"""The gateway before answermesh's own services: JSON, events, errors, hang-ups, reloads."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2 as httpx
import pytest
import uvicorn
from openapi_spec_validator import validate

from answermesh.config import Settings
from answermesh.errors import not_found
from answermesh.gateway import Options, app
from answermesh.gateway.http import listener
from answermesh.gateway.service import serve_http
from answermesh.v1 import query_pb2, query_service_pb2
from tests.wire.servers import queries, serving

_EVENTS = {"accept": "text/event-stream"}


@asynccontextmanager
async def gateway(upstream: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that has learned what `upstream` offers."""
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        server = group.create_task(serve_http(Settings(), "127.0.0.1:0", upstream, ready.set_result))
        async with httpx.AsyncClient(base_url=f"http://{await ready}", timeout=10, trust_env=False) as client:
            yield client
        server.cancel()


@asynccontextmanager
async def mounted(upstream: str, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway of these options, on a socket of its own."""
    application = app(upstream, options=Options(**options))
    bound, address = listener.bind("127.0.0.1:0")
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", lifespan="off"))
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve(sockets=[bound]))
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=10, trust_env=False) as client:
            yield client
        server.should_exit = True
    await application.aclose()


def _event(sequence: int) -> query_pb2.QueryEvent:
    return query_pb2.QueryEvent(query="queries/1", sequence=sequence)


async def _watch(request: query_service_pb2.WatchQueryRequest, context: Any) -> AsyncIterator[Any]:
    for sequence in range(request.after_sequence + 1, 4):
        yield query_service_pb2.WatchQueryResponse(event=_event(sequence))


async def test_a_resource_comes_bare_and_a_failure_keeps_its_reason() -> None:
    async def get(request: Any, context: Any) -> Any:
        if request.name == "queries/none":
            raise not_found(request.name)
        return query_service_pb2.GetQueryResponse(query=query_pb2.Query(name=request.name, last_sequence=2**53 + 1))

    async with serving(queries(GetQuery=get)) as (_, address), gateway(address) as client:
        answer = await client.get("/v1/queries/1")
        assert answer.json() == {"name": "queries/1", "lastSequence": "9007199254740993"}
        error = (await client.get("/v1/queries/none")).json()["error"]
        assert (error["code"], error["status"]) == (404, "NOT_FOUND")
        assert error["details"][0]["reason"] == "NOT_FOUND"
        wrong = await client.put("/v1/queries/1")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "DELETE, GET")


async def test_an_unknown_field_or_parameter_is_refused_by_name() -> None:
    async with serving(queries()) as (_, address), gateway(address) as client:
        body = (await client.post("/v1/queries", json={"quest": "?"})).json()["error"]
        assert body["code"] == 400
        assert body["details"][1]["fieldViolations"][0]["field"] == "quest"
        query = (await client.get("/v1/queries", params={"pages": 3})).json()["error"]
        assert query["details"][1]["fieldViolations"][0]["field"] == "pages"


async def test_events_have_their_sequence_as_id_and_resume_after_the_last_one_seen() -> None:
    async with serving(queries(WatchQuery=_watch)) as (_, address), gateway(address) as client:
        all_of_it = await client.get("/v1/queries/1:watch", headers=_EVENTS)
        assert [line for line in all_of_it.text.splitlines() if line.startswith("id")] == ["id: 1", "id: 2", "id: 3"]
        assert all_of_it.headers["cache-control"] == "no-cache"
        rest = await client.get("/v1/queries/1:watch?after_sequence=1", headers=_EVENTS | {"last-event-id": "2"})
        assert rest.text == 'id: 3\ndata: {"query":"queries/1","sequence":"3"}\n\n'


async def test_an_event_source_that_has_seen_all_is_told_to_stay_away() -> None:
    async with serving(queries(WatchQuery=_watch)) as (_, address), gateway(address) as client:
        assert (await client.get("/v1/queries/1:watch", headers=_EVENTS | {"last-event-id": "3"})).status_code == 204
        bad = await client.get("/v1/queries/1:watch", headers=_EVENTS | {"last-event-id": "x"})
        assert bad.status_code == 400


async def test_an_error_after_the_first_message_shows_in_every_format() -> None:
    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        yield query_service_pb2.AskResponse(event=_event(1))
        raise not_found("plans/x")

    async with serving(queries(Ask=ask)) as (_, address), gateway(address) as client:

        async def answer(accept: str) -> str:
            return (await client.post("/v1/queries:ask", json={"question": "?"}, headers={"accept": accept})).text

        assert 'event: error\ndata: {"error":{"code":404' in await answer("text/event-stream")
        lines = (await answer("application/x-ndjson")).splitlines()
        assert json.loads(lines[-1])["error"]["status"] == "NOT_FOUND"
        with pytest.raises(httpx.RemoteProtocolError):
            await answer("application/json")


async def test_a_stream_that_fails_before_its_first_message_has_its_real_status() -> None:
    async def watch(request: Any, context: Any) -> AsyncIterator[Any]:
        raise not_found(request.name)
        yield

    async with serving(queries(WatchQuery=watch)) as (_, address), gateway(address) as client:
        assert (await client.get("/v1/queries/1:watch", headers=_EVENTS)).status_code == 404


async def test_hanging_up_cancels_the_call() -> None:
    cancelled = asyncio.Event()

    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield query_service_pb2.AskResponse(event=_event(1))
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def cancel(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with serving(queries(Ask=ask, CancelQuery=cancel)) as (_, address), gateway(address) as client:
        async with client.stream("POST", "/v1/queries:ask", json={"question": "?"}, headers=_EVENTS) as answer:
            await anext(answer.aiter_lines())
        await asyncio.wait_for(cancelled.wait(), 10)
        cancelled.clear()
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/queries/1:cancel", timeout=0.3)
        await asyncio.wait_for(cancelled.wait(), 10)


async def test_a_slow_client_stops_the_reading_of_the_upstream() -> None:
    sent = 0
    stalled = asyncio.Event()
    # More than all buffers between the ends hold together.
    total, padding = 400, "x" * 200_000

    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        nonlocal sent
        for sequence in range(1, total + 1):
            write = asyncio.ensure_future(
                context.write(
                    query_service_pb2.AskResponse(event=query_pb2.QueryEvent(query=padding, sequence=sequence))
                )
            )
            done, _ = await asyncio.wait([write], timeout=0.5)
            if not done:
                stalled.set()
                await write
            sent += 1
        return
        yield

    async with serving(queries(Ask=ask)) as (_, address), gateway(address) as client:
        async with client.stream("POST", "/v1/queries:ask", json={"question": "?"}, headers=_EVENTS) as answer:
            await asyncio.wait_for(stalled.wait(), 20)
            assert sent < total
            received = [line async for line in answer.aiter_lines() if line.startswith("id")]
        assert received[-1] == f"id: {total}"


async def test_until_the_upstream_is_there_all_is_503_and_a_new_schema_is_taken_up() -> None:
    async with serving(queries()) as (_, free):
        pass
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def get(request: Any, context: Any) -> Any:
        return query_service_pb2.GetQueryResponse(query=query_pb2.Query(name=request.name))

    bound, at = listener.bind("127.0.0.1:0")
    bound.close()
    async with asyncio.TaskGroup() as group:
        server = group.create_task(serve_http(Settings(), at, free, address.set_result))
        async with httpx.AsyncClient(base_url=f"http://{at}", timeout=10, trust_env=False) as client:
            await asyncio.wait_for(_answers(client), 10)
            early = await client.get("/v1/queries/1")
            assert (early.status_code, early.json()["error"]["status"]) == (503, "UNAVAILABLE")
            assert early.headers["retry-after"] == "1"
            async with serving(queries(GetQuery=get), listen=free):
                await asyncio.wait_for(address, 20)
                assert (await client.get("/v1/queries/1")).json() == {"name": "queries/1"}
        server.cancel()


async def _answers(client: httpx.AsyncClient) -> None:
    while True:
        try:
            await client.get("/healthz")
        except httpx.ConnectError:
            await asyncio.sleep(0)
        else:
            return


async def test_the_openapi_document_is_valid_and_the_page_needs_no_other_host() -> None:
    async with serving(queries()) as (_, address), gateway(address) as client:
        document = (await client.get("/openapi.json")).json()
        validate(document)
        assert document["openapi"].startswith("3.1")
        watch = document["paths"]["/v1/queries/{query}:watch"]["get"]
        shared = document["components"]["parameters"]
        named = [p if "name" in p else shared[p["$ref"].rpartition("/")[2]] for p in watch["parameters"]]
        assert [p["name"] for p in named] == ["query", "afterSequence", "Last-Event-ID"]
        page = (await client.get("/docs")).text
        assert "http://" not in page
        assert "https://" not in page


async def test_the_request_id_and_the_trace_go_through() -> None:
    seen: dict[str, str] = {}

    async def get(request: Any, context: Any) -> Any:
        seen.update(context.invocation_metadata())
        return query_service_pb2.GetQueryResponse()

    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with serving(queries(GetQuery=get)) as (_, address), gateway(address) as client:
        answer = await client.get("/v1/queries/1", headers={"x-request-id": "abc", "traceparent": trace})
        assert (answer.headers["x-request-id"], seen["x-request-id"], seen["traceparent"]) == ("abc", "abc", trace)
        assert len((await client.get("/v1/queries/1")).headers["x-request-id"]) == 32


async def test_stopping_cuts_streams_and_ends() -> None:
    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        yield query_service_pb2.AskResponse(event=_event(1))
        await asyncio.Event().wait()

    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    async with serving(queries(Ask=ask)) as (_, address):
        server = asyncio.ensure_future(serve_http(Settings(), "127.0.0.1:0", address, ready.set_result))
        async with (
            httpx.AsyncClient(base_url=f"http://{await ready}", timeout=10, trust_env=False) as client,
            client.stream("POST", "/v1/queries:ask", json={"question": "?"}, headers=_EVENTS) as answer,
        ):
            lines = answer.aiter_lines()
            await anext(lines)
            server.cancel()
            with pytest.raises(httpx.RemoteProtocolError):
                [line async for line in lines]
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(server, 15)


async def test_a_stream_beyond_the_most_is_told_to_come_later_and_finds_room_then() -> None:
    async def ask(request: Any, context: Any) -> AsyncIterator[Any]:
        yield query_service_pb2.AskResponse(event=_event(1))
        await asyncio.Event().wait()

    async with serving(queries(Ask=ask, WatchQuery=_watch)) as (_, address), mounted(address, max_streams=1) as client:
        async with client.stream("POST", "/v1/queries:ask", json={"question": "?"}, headers=_EVENTS) as answer:
            await anext(answer.aiter_lines())
            more = await client.get("/v1/queries/1:watch", headers=_EVENTS)
            assert (more.status_code, more.headers["retry-after"]) == (429, "1")
            assert more.json()["error"]["details"][0]["reason"] == "TOO_MANY_STREAMS"
        while (await client.get("/v1/queries/1:watch", headers=_EVENTS)).status_code == 429:
            pass  # the place is free when the gateway has seen the client hang up
