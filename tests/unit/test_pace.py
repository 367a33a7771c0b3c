"""Steps that keep their distance."""

from __future__ import annotations

import asyncio

from answermesh.rpc.pace import Pace


async def test_the_first_step_goes_at_once_and_the_next_waits_its_turn() -> None:
    pace = Pace(3600)
    await asyncio.wait_for(pace.step(), 10)
    second = asyncio.ensure_future(pace.step())
    await asyncio.sleep(0)
    assert not second.done()
    second.cancel()


async def test_a_step_after_a_rest_goes_at_once() -> None:
    pace = Pace(0.001)
    await pace.step()
    await asyncio.sleep(0.002)
    second = asyncio.ensure_future(pace.step())
    await asyncio.sleep(0)
    assert second.done()
