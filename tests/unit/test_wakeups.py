"""What a waiter for notifications gets."""

from __future__ import annotations

import asyncio

from answermesh.store.wakeups import MAX_PAYLOADS, Wakeups


async def test_payloads_come_in_order_and_once() -> None:
    wakeups = Wakeups()
    wakeups.add("a")
    wakeups.add("b")
    assert await wakeups.wait(10) == ["a", "b"]
    assert await wakeups.wait(0) == []


async def test_a_waiter_is_woken_by_a_payload() -> None:
    wakeups = Wakeups()
    async with asyncio.TaskGroup() as group:
        waiter = group.create_task(wakeups.wait(10))
        group.create_task(asyncio.to_thread(lambda: None)).add_done_callback(lambda _: wakeups.add("a"))
    assert waiter.result() == ["a"]


async def test_after_a_reconnection_the_waiter_has_to_look_for_itself() -> None:
    wakeups = Wakeups()
    wakeups.add("a")
    wakeups.lose()
    wakeups.add("b")
    assert await wakeups.wait(10) == []
    wakeups.add("c")
    assert await wakeups.wait(10) == ["c"]


async def test_too_many_payloads_are_one_wake_up() -> None:
    wakeups = Wakeups()
    for number in range(MAX_PAYLOADS + 1):
        wakeups.add(str(number))
    assert await wakeups.wait(10) == []
    assert await wakeups.wait(0) == []


async def test_a_cancelled_wait_loses_no_payload() -> None:
    wakeups = Wakeups()
    waiter = asyncio.ensure_future(wakeups.wait(10))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])
    wakeups.add("a")
    assert await wakeups.wait(10) == ["a"]
