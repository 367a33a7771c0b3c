"""Wake-ups over a real connection, which is cut."""

from __future__ import annotations

import asyncpg

from answermesh.store import Store

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()"
)


async def test_a_notification_wakes_the_waiter_with_its_payload(store: Store) -> None:
    async with store.listen("news") as wakeups:
        assert await wakeups.wait(20) == [], "the connection was made: look for yourself"
        async with store.transaction("one") as transaction:
            await transaction.execute("SELECT pg_notify('news', 'first'), pg_notify('news', 'second')")
        # Both come in one packet of the server, or in two.
        payloads = await wakeups.wait(20)
        if payloads == ["first"]:
            payloads += await wakeups.wait(20)
        assert payloads == ["first", "second"]


async def test_a_cut_connection_mends_itself_and_wakes_the_waiter(store: Store, dsn: str) -> None:
    administrator = await asyncpg.connect(dsn)
    async with store.listen("news") as wakeups:
        assert await wakeups.wait(20) == []
        assert await administrator.fetch(CUT)
        assert await wakeups.wait(20) == [], "made again: look for yourself"
        await administrator.execute("SELECT pg_notify('news', 'later')")
        assert await wakeups.wait(20) == ["later"]
    await administrator.close()


async def test_listening_outlives_a_database_that_is_not_there() -> None:
    async with Store("postgresql://user:secret@/x?host=/nowhere", None).listen("news") as wakeups:  # type: ignore[arg-type]
        assert await wakeups.wait(0.05) == []


async def test_a_listener_leaves_no_connection_behind(store: Store, dsn: str) -> None:
    async with store.listen("news") as wakeups:
        await wakeups.wait(20)
    administrator = await asyncpg.connect(dsn)
    assert not await administrator.fetch(CUT)
    await administrator.close()
