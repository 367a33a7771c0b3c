"""The nemesis: hurts a world at random, and lets it heal in the end. What it does follows from its seed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from bench.chaos.world import World

# What is done, and how often in proportion.
DEEDS = {
    "kill orchestrator": 4,
    "stop orchestrator": 3,
    "kill agent": 3,
    "stop agent": 2,
    "kill gateway": 2,
    "stop gateway": 1,
    "cut": 4,
    "kill postgres": 1,
    "stop postgres": 1,
}
PAUSE_S = (0.3, 2.0)
STOP_S = (0.5, 5.0)


class Nemesis:
    """Does one thing after another; what it stopped goes on by itself after a while."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._random = random.Random(seed)
        self.done: Counter[str] = Counter()
        self._over = asyncio.Event()

    async def run(self, seconds: float) -> None:
        """Hurt for so long; on return all that was stopped goes on."""
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as healing:
            while (left := end - time.monotonic()) > 0:
                await asyncio.sleep(min(left, self._random.uniform(*PAUSE_S)))
                deed = self._random.choices(list(DEEDS), list(DEEDS.values()))[0]
                self.done[deed] += 1
                self._do(deed, healing)
            self._over.set()

    def _do(self, deed: str, healing: asyncio.TaskGroup) -> None:
        how, _, whom = deed.partition(" ")
        if how == "cut":
            self._random.choice(self._world.cutters).cut()
            return
        pid = self._pid(whom)
        _send(pid, signal.SIGKILL if how == "kill" else signal.SIGSTOP)
        if how == "stop":
            healing.create_task(self._resume(pid, self._random.uniform(*STOP_S)))

    def _pid(self, whom: str) -> int:
        if whom == "postgres":
            return self._world.postgres.pid
        names: Sequence[str] = sorted(self._world.names(whom))
        return self._world.kept[self._random.choice(names)].pid if names else 0

    async def _resume(self, pid: int, after_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(after_s):
                await self._over.wait()
        _send(pid, signal.SIGCONT)


def _send(pid: int, number: signal.Signals) -> None:
    # It may be dead just now, on its way back.
    with suppress(ProcessLookupError):
        if pid > 0:
            os.kill(pid, number)
