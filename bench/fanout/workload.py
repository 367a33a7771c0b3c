"""The workload: one question goes to five agents at once, each waits 50 ms and tells its part, the parts are joined."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.gateway.cost import cpu_s

AGENTS = ("web", "docs", "code", "math", "critic")
WAIT_S = 0.050
TEXT = "token token token token "
# Users whose calls fail over and over would measure nothing.
_MAX_ERRORS = 200


@dataclass(frozen=True, slots=True)
class Taken:
    """What one measurement found; overhead is latency at the client less the agents' 50 ms."""

    in_flight: int
    queries_per_s: float
    overhead_p50_ms: float
    overhead_p95_ms: float
    overhead_p99_ms: float
    cpu_ms_per_query: float
    errors: int
    first_error: str


async def closed_loop(ask: Callable[[], Awaitable[None]], in_flight: int, *, warm_s: float, seconds: float) -> Taken:
    """Ask `in_flight` questions at once, each user the next when one is answered; `ask` raises on a wrong answer.

    CPU is that of this process, which is the client, and of all that it started.
    """
    # Not the loop's clock, which uvloop counts in milliseconds.
    now_s = time.perf_counter
    begin = now_s() + warm_s
    end = begin + seconds
    taken_s: list[float] = []
    errors: list[str] = []

    async def user() -> None:
        while (started := now_s()) < end and len(errors) < _MAX_ERRORS:
            try:
                await ask()
            except Exception as error:
                errors.append(repr(error)[:300])
                continue
            ended = now_s()
            if started >= begin and ended <= end:
                taken_s.append(ended - started)

    used_s = 0.0
    async with asyncio.TaskGroup() as users:
        for _ in range(in_flight):
            users.create_task(user())
        await asyncio.sleep(warm_s)
        before_s = cpu_s(os.getpid())
        await asyncio.sleep(seconds)
        used_s = cpu_s(os.getpid()) - before_s
    ordered = sorted(taken_s) or [math.nan]

    def percentile(share: float) -> float:
        return round((ordered[min(len(ordered) - 1, int(share * len(ordered)))] - WAIT_S) * 1e3, 2)

    return Taken(
        in_flight,
        round(len(taken_s) / seconds, 1),
        percentile(0.5),
        percentile(0.95),
        percentile(0.99),
        round(used_s / max(len(taken_s), 1) * 1e3, 3),
        len(errors),
        errors[0] if errors else "",
    )
