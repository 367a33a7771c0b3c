"""The typed client against real servicers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import pytest_asyncio
from grpclib.protocol import Connection

from answermesh.client import Client, patience
from answermesh.client.faults import translated
from answermesh.client.members import chosen
from answermesh.errors import Failure, Field, Reason
from answermesh.typed.answermesh import v1
from answermesh.v1.query_pb2 import Query
from answermesh.v1.query_service_pb2 import AskRequest
from tests.wire.fake_mesh import NAME, TEXT, FakeMesh, fake_mesh

Outcome = v1.ImportDocumentsResponseOutcome
_CRITICAL = v1.QueryPriority(v1.QueryPriority.PRIORITY_CRITICAL)


@pytest_asyncio.fixture
async def mesh() -> AsyncIterator[FakeMesh]:
    async with fake_mesh() as fake:
        yield fake


@pytest_asyncio.fixture
async def client(mesh: FakeMesh) -> AsyncIterator[Client]:
    async with Client(mesh.address, timeout_s=10) as connected:
        yield connected


async def test_an_answer_comes_event_by_event_without_heartbeats(client: Client) -> None:
    events = [event async for event in client.ask("How?")]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert chosen(events[-1], "event")[1].answer.text == TEXT


async def test_a_refusal_carries_reason_fields_and_when_to_try_again(mesh: FakeMesh, client: Client) -> None:
    mesh.failure = Failure(Reason.OVERLOADED, "Too much.", fields=[Field("question", "is long")], retry_after_s=2.0)
    with pytest.raises(Failure) as caught:
        await client.search("x")
    failure = caught.value
    assert (failure.reason, failure.message, failure.retry_after_s) == (Reason.OVERLOADED, "Too much.", 2.0)
    assert failure.fields == (Field("question", "is long"),)


async def test_closing_an_answer_cancels_it_at_the_mesh(mesh: FakeMesh, client: Client) -> None:
    mesh.hangs = True
    async with aclosing(client.ask("How?")) as events:
        await anext(events)
    async with asyncio.timeout(10):
        await mesh.ended.wait()
    assert mesh.cancelled == [NAME]


async def test_an_answer_that_breaks_is_watched_from_where_it_broke(mesh: FakeMesh, client: Client) -> None:
    mesh.ask_breaks = 4
    mesh.breaks = [2]
    events = [event async for event in client.ask("How?")]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert chosen(events[-1], "event")[1].answer.text == TEXT
    assert mesh.watched_after == [4, 6]
    assert mesh.cancelled == []


async def test_an_answer_that_is_not_stored_ends_with_its_stream(mesh: FakeMesh, client: Client) -> None:
    mesh.ask_breaks = 4
    with pytest.raises(Failure, match="ask again") as caught:
        _ = [event async for event in client.ask("How?", ephemeral=True, priority=_CRITICAL)]
    assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
    assert (mesh.watched_after, mesh.cancelled) == ([], [])
    [asked] = mesh.asked
    assert (asked.durability, asked.priority) == (AskRequest.DURABILITY_EPHEMERAL, Query.PRIORITY_CRITICAL)
    assert not asked.HasField("linger")


async def test_an_answer_goes_on_at_another_address(mesh: FakeMesh) -> None:
    async with fake_mesh() as stopping, Client(f"{stopping.address},{mesh.address}", timeout_s=10) as client:
        stopping.ask_breaks = 4
        events = [event async for event in client.ask("How?")]
        after = await client.get_query(NAME)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (stopping.watched_after, mesh.watched_after) == ([], [4])
    assert after.name == NAME


async def test_a_call_goes_to_the_address_that_answers(mesh: FakeMesh) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with Client(f"127.0.0.1:{taken.getsockname()[1]},{mesh.address}", timeout_s=10) as client:
            assert (await client.get_query(NAME)).name == NAME


async def test_a_call_leaves_an_address_where_somebody_listens_and_never_answers(mesh: FakeMesh) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        addresses = f"127.0.0.1:{deaf.getsockname()[1]},{mesh.address}"
        async with Client(addresses, timeout_s=25) as client, asyncio.timeout(20):
            assert (await client.get_query(NAME)).name == NAME


async def test_cancelling_the_asking_task_cancels_the_answer_and_leaves_the_client_usable(
    mesh: FakeMesh, client: Client
) -> None:
    mesh.hangs = True

    async def ask() -> None:
        async for _ in client.ask("How?"):
            pass

    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(ask())
            await mesh.asking.wait()
            asking.cancel()
        await mesh.ended.wait()
    assert (await client.get_query(NAME)).name == NAME


async def test_a_watch_that_breaks_is_resumed_after_the_last_event_seen(mesh: FakeMesh, client: Client) -> None:
    mesh.breaks = [3, 2]
    events = [event async for event in client.watch(NAME)]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert mesh.watched_after == [0, 3, 5]


async def test_a_watch_comes_back_to_a_mesh_that_is_away_though_it_has_seen_nothing(
    mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PAUSES_S", (0.001,))
    mesh.failure = Failure(Reason.DATABASE_UNAVAILABLE, "Away.")
    mesh.fails = 50
    async with Client(mesh.address) as client:
        events = [event async for event in client.watch(NAME)]
    assert chosen(events[-1], "event")[1].answer.text == TEXT
    assert mesh.fails == 0


async def test_a_watch_bears_a_mesh_with_too_much_to_do_and_a_question_is_refused_by_it(
    mesh: FakeMesh, client: Client
) -> None:
    mesh.failure = Failure(Reason.OVERLOADED, "Too much.", retry_after_s=1.0)
    mesh.fails = 2
    with pytest.raises(Failure, match="Too much"):
        await anext(client.ask("How?"))
    events = [event async for event in client.watch(NAME)]
    assert chosen(events[-1], "event")[1].answer.text == TEXT


async def test_a_watch_of_nothing_fails_at_once(mesh: FakeMesh, client: Client) -> None:
    mesh.failure = Failure(Reason.NOT_FOUND, "'queries/q9' does not exist.")
    with pytest.raises(Failure) as caught:
        await anext(client.watch("queries/q9"))
    assert caught.value.reason is Reason.NOT_FOUND


async def test_nobody_at_the_address_is_service_unavailable_and_names_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with Client(address) as client:
            with pytest.raises(Failure, match=address) as caught:
                await client.health()
    assert caught.value.reason is Reason.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("address", ["localhost", ":1", "host:0", "host:99999", "host:x", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(Failure) as caught:
        Client(address)
    assert caught.value.reason is Reason.INVALID_FIELD


async def test_pages_are_followed_to_the_last(client: Client) -> None:
    assert [query.name async for query in client.list_queries()] == [NAME, "queries/q2"]


async def test_files_arrive_whole_and_one_that_cannot_be_read_is_reported_beside_them(
    mesh: FakeMesh, client: Client, tmp_path: Path
) -> None:
    big, missing, empty = tmp_path / "big.txt", tmp_path / "missing.txt", tmp_path / "empty.txt"
    content = b"0123456789" * 250_000
    big.write_bytes(content)
    empty.write_bytes(b"")
    responses = [response async for response in client.import_paths([big, missing, empty], base=tmp_path)]
    outcomes = {one.uri: one.outcome for one in responses if one.outcome != Outcome.OUTCOME_PROGRESS}
    assert outcomes == {
        "big.txt": Outcome.OUTCOME_CREATED,
        "empty.txt": Outcome.OUTCOME_FAILED,
        str(missing): Outcome.OUTCOME_FAILED,
    }
    assert mesh.files == {"big.txt": content, "empty.txt": b""}


async def test_an_import_that_the_mesh_refuses_raises_its_reason(
    mesh: FakeMesh, client: Client, tmp_path: Path
) -> None:
    mesh.failure = Failure(Reason.STORAGE_FULL, "The disk is full.")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(Failure) as caught:
        async for _ in client.import_paths([tmp_path / "a.txt"]):
            pass
    assert caught.value.reason is Reason.STORAGE_FULL


async def test_a_connection_lost_before_a_stream_opens_on_it_is_a_mesh_that_cannot_be_reached() -> None:
    """grpclib opens a stream on a connection that it has just closed; the error is its own AttributeError."""
    lost = object.__new__(Connection)
    with pytest.raises(Failure) as caught, translated("127.0.0.1:1"):
        lost._connection = None
        lost.create_stream()

    assert caught.value.reason is Reason.SERVICE_UNAVAILABLE
