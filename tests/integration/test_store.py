"""Transactions on a real Postgres: what they commit, what their errors become, what is left after a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import numpy as np
import pytest

from answermesh.errors import Failure, Reason
from answermesh.rpc.deadline import fail_after
from answermesh.store import Store, Transaction, encode_vector
from answermesh.store import store as store_module

SLOW = "SELECT pg_sleep(30)"


@pytest.fixture
async def things(dsn: str) -> AsyncIterator[Store]:
    """A store with one tenant table of its own, `things(thing_id, note, embedding)`."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "answermesh, public"})
    await connection.execute(
        """CREATE TABLE things (
               tenant_id text NOT NULL DEFAULT current_setting('app.tenant'),
               thing_id integer NOT NULL,
               note text,
               embedding vector(3),
               PRIMARY KEY (tenant_id, thing_id)
           );
           SELECT am_tenant_table('things')"""
    )
    await connection.close()
    async with Store.open(dsn, pool_size=2) as opened:
        yield opened


async def count(store: Store) -> int:
    async with store.transaction("one") as transaction:
        number: int = await transaction.fetchval("SELECT count(*) FROM things")
        return number


async def test_what_a_transaction_wrote_is_there_after_it(things: Store) -> None:
    async with things.transaction("one") as transaction:
        assert await transaction.execute("INSERT INTO things (thing_id) SELECT generate_series(1, 3)") == 3
        await transaction.executemany("INSERT INTO things (thing_id) VALUES ($1)", [(4,), (5,)])
    assert await count(things) == 5


async def test_an_error_of_the_body_undoes_the_transaction_and_passes(things: Store) -> None:
    async def write() -> None:
        async with things.transaction("one") as transaction:
            await transaction.execute("INSERT INTO things (thing_id) VALUES (1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await write()
    assert await count(things) == 0


async def test_a_swallowed_error_of_a_statement_is_not_taken_for_a_commit(things: Store) -> None:
    async def write() -> None:
        async with things.transaction("one") as transaction:
            await transaction.execute("INSERT INTO things (thing_id) VALUES (1)")
            with pytest.raises(asyncpg.UniqueViolationError):
                await transaction.execute("INSERT INTO things (thing_id) VALUES (1)")

    with pytest.raises(RuntimeError, match="nothing was committed"):
        await write()
    assert await count(things) == 0


async def test_vectors_go_in_and_come_out_by_every_way(things: Store) -> None:
    async with things.transaction("one") as transaction:
        await transaction.execute("INSERT INTO things (thing_id, embedding) VALUES (1, $1)", [1.0, 2.5, -3.0])
        await transaction.copy_records("things", ["thing_id", "embedding"], [(2, np.array([4, 5, 6], np.float32))])
        await transaction.execute(
            "INSERT INTO things (thing_id, embedding) SELECT * FROM unnest($1::int[], $2::vector[])",
            [3],
            [encode_vector(np.ones(3, np.float32))],
        )
        rows = await transaction.fetch("SELECT embedding FROM things ORDER BY thing_id")
        nearest = await transaction.fetchval("SELECT thing_id FROM things ORDER BY embedding <-> $1 LIMIT 1", [4, 5, 6])
    assert [row["embedding"].tolist() for row in rows] == [[1.0, 2.5, -3.0], [4.0, 5.0, 6.0], [1.0, 1.0, 1.0]]
    assert nearest == 2


async def test_names_that_are_no_identifiers_are_refused(things: Store) -> None:
    async with things.transaction("one") as transaction:
        with pytest.raises(ValueError, match="is no identifier"):
            await transaction.copy_records("things; DROP TABLE things", ["thing_id"], [(1,)])


@pytest.mark.parametrize(
    ("sqlstate", "reason"),
    [
        ("53100", Reason.STORAGE_FULL),
        ("53200", Reason.OVERLOADED),
        ("53300", Reason.OVERLOADED),
        ("57P01", Reason.DATABASE_UNAVAILABLE),
        ("57P03", Reason.DATABASE_UNAVAILABLE),
        ("25006", Reason.DATABASE_UNAVAILABLE),
        ("08006", Reason.DATABASE_UNAVAILABLE),
        ("57014", Reason.DEADLINE_EXCEEDED),
        ("55P03", Reason.DEADLINE_EXCEEDED),
    ],
)
async def test_what_postgres_says_becomes_a_reason(things: Store, sqlstate: str, reason: Reason) -> None:
    with pytest.raises(Failure) as caught:
        async with things.transaction("one") as transaction:
            await transaction.execute(f"DO $$ BEGIN RAISE SQLSTATE '{sqlstate}'; END $$")
    assert caught.value.reason is reason
    assert await count(things) == 0


async def test_a_fault_of_ours_stays_an_exception(things: Store) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        async with things.transaction("one") as transaction:
            await transaction.fetch("SELECT * FROM nowhere")


async def test_a_statement_ends_at_the_deadline_of_its_call(things: Store) -> None:
    with pytest.raises(Failure) as caught:
        async with fail_after(0.05), things.transaction("one") as transaction:
            await transaction.execute(SLOW)
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert await count(things) == 0


async def test_a_busy_pool_turns_callers_away(things: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with things.transaction("one"), things.transaction("one"):
        with monkeypatch.context() as while_both_are_taken, pytest.raises(Failure) as caught:
            while_both_are_taken.setattr(store_module, "ACQUIRE_TIMEOUT_S", 0.05)
            await count(things)
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_after_s
    assert await count(things) == 0


async def test_a_connection_that_the_server_cut_is_replaced(things: Store, dsn: str) -> None:
    async def lose_the_connection() -> None:
        async with things.transaction("one") as transaction:
            pid = await transaction.fetchval("SELECT pg_backend_pid()")
            await administrator.execute("SELECT pg_terminate_backend($1)", pid)
            await transaction.fetch(SLOW)

    administrator = await asyncpg.connect(dsn)
    with pytest.raises(Failure) as caught:
        await lose_the_connection()
    await administrator.close()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert await count(things) == 0


async def test_a_transaction_is_dead_once_it_has_ended(things: Store) -> None:
    async with things.transaction("one") as transaction:
        pass
    with pytest.raises(RuntimeError, match="the transaction has ended"):
        await transaction.fetch("SELECT 1")


# After a cancellation each of these must work at once, on the same connections.
OPERATIONS: dict[str, Callable[[Transaction], Awaitable[object]]] = {
    "fetch": lambda transaction: transaction.fetch("SELECT 1"),
    "fetchrow": lambda transaction: transaction.fetchrow("SELECT 1"),
    "fetchval": lambda transaction: transaction.fetchval("SELECT 1"),
    "execute": lambda transaction: transaction.execute("INSERT INTO things (thing_id) VALUES (7)"),
    "executemany": lambda transaction: transaction.executemany("INSERT INTO things (thing_id) VALUES ($1)", [(8,)]),
}


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_after_a_cancelled_statement_the_pool_works(things: Store, dsn: str, operation: str) -> None:
    for _ in range(3):
        started = asyncio.Event()

        async def slow(started: asyncio.Event) -> None:
            async with things.transaction("one") as transaction:
                await transaction.execute("INSERT INTO things (thing_id) VALUES (1)")
                started.set()
                await transaction.execute(SLOW)

        task = asyncio.ensure_future(slow(started))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10), things.transaction("one") as transaction:
            await OPERATIONS[operation](transaction)
            await transaction.execute("DELETE FROM things")
    observer = await asyncpg.connect(dsn)
    # Where the request to cancel overtook its statement, the server notices a second later that its client hung up.
    async with asyncio.timeout(20):
        while await observer.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = $1", SLOW
        ):
            await observer.execute("SELECT pg_sleep(0.05)")
    await observer.close()


async def test_a_transaction_cancelled_at_any_step_leaves_the_pool_whole(things: Store) -> None:
    """Cancels after 1, 2, 3 … turns of the loop, so at every await in turn, until one run gets through."""

    async def write() -> None:
        async with things.transaction("one") as transaction:
            await transaction.execute("INSERT INTO things (thing_id) VALUES (1) ON CONFLICT DO NOTHING")

    for turns in range(1, 2000):
        task = asyncio.ensure_future(write())
        for _ in range(turns):
            if task.done():
                break
            await asyncio.sleep(0)
        if task.done():
            break
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.cancelled()
    else:
        pytest.fail("no run got through")
    # Both connections of the pool are free, and neither is in a transaction.
    async with asyncio.timeout(5), things.transaction("one") as first, things.transaction("one") as second:
        assert await first.fetchval("SELECT count(*) FROM things") == 1
        assert await second.fetchval("SELECT pg_current_xact_id_if_assigned()") is None


async def test_a_bad_address_is_a_field_and_its_password_is_not_told(dsn: str) -> None:
    for bad in (
        "postgresql://user:secret@host:notaport/x",
        dsn.replace("answermesh:", "answermesh:secret", 1),
        "nonsense",
    ):
        with pytest.raises(Failure) as caught:
            async with Store.open(bad):
                pass
        assert caught.value.reason is Reason.INVALID_FIELD
        assert "secret" not in caught.value.message


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Failure, match=r"answers at /nowhere") as caught:
        async with Store.open("postgresql://user:secret@/answers?host=/nowhere"):
            pass
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    assert "secret" not in caught.value.message


async def test_a_dropped_connection_does_not_keep_its_locks(things: Store) -> None:
    async def hold_a_lock_and_vanish() -> None:
        async with things.transaction("one") as transaction:
            await transaction.execute("INSERT INTO things (thing_id) VALUES (1)")
            connection = transaction._connection
            assert connection is not None
            slow = asyncio.ensure_future(transaction.execute(SLOW))
            await asyncio.sleep(0)  # the statement is on its way
            connection.terminate()
            await slow

    with pytest.raises(Failure) as caught:
        await hold_a_lock_and_vanish()
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE
    # Its lock is free before the statement's 30 seconds are over; else this would fail at the lock's time limit.
    async with things.transaction("one") as transaction:
        assert await transaction.execute("INSERT INTO things (thing_id) VALUES (1)") == 1


async def test_a_process_that_stands_still_in_a_transaction_loses_its_locks(dsn: str) -> None:
    lock = "SELECT pg_advisory_xact_lock(7)"
    async with Store.open(dsn, idle_in_transaction_s=0.2) as stopped, Store.open(dsn) as other:
        with pytest.raises(Failure) as caught:
            async with stopped.transaction("one") as standing:
                await standing.execute(lock)
                async with other.transaction("one") as going_on:
                    await going_on.execute(lock)
                await standing.execute(lock)
    assert caught.value.reason is Reason.DATABASE_UNAVAILABLE


async def test_what_one_transaction_set_for_its_session_the_next_does_not_see(things: Store) -> None:
    async with things.transaction("one") as transaction:
        default = await transaction.fetchval("SHOW work_mem")
        await transaction.execute("SET work_mem = '77MB'")
    async with things.transaction("one") as transaction:
        assert await transaction.fetchval("SHOW work_mem") == default != "77MB"


async def test_settings_hold_within_their_transaction(things: Store) -> None:
    async with things.transaction("one", {"enable_sort": "off"}) as transaction:
        assert await transaction.fetchval("SHOW enable_sort") == "off"
    async with things.transaction("one") as transaction:
        assert await transaction.fetchval("SHOW enable_sort") == "on"


@pytest.mark.parametrize("setting", [("enable_sort", "off'"), ("a'b", "off")])
async def test_a_setting_that_needs_quoting_is_refused(things: Store, setting: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="plain small letters"):
        async with things.transaction("one", dict([setting])):
            pass
