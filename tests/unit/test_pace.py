"""Steps that keep their distance."""

from __future__ import annotations

import asyncio

import pytest

from answermesh.rpc import pace
from answermesh.rpc.pace import Pace


async def test_the_first_step_goes_at_once_and_the_next_of_many_runs_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "MOST_S", 3600.0)
    steps = Pace()
    await asyncio.wait_for(steps.step(1_000_000), 10)
    second = asyncio.ensure_future(steps.step(1_000_000))
    await asyncio.sleep(0)
    assert not second.done()
    second.cancel()


async def test_a_step_without_runs_goes_at_once() -> None:
    steps = Pace()
    for _ in range(100):
        step = asyncio.ensure_future(steps.step(0))
        await asyncio.sleep(0)
        assert step.done()
