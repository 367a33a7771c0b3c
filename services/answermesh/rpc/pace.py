"""A pace for messages of a stream that many share: the first goes at once, the next ones no closer than so."""

from __future__ import annotations

import asyncio


class Pace:
    """Steps at least `step_s` apart; one event loop."""

    def __init__(self, step_s: float) -> None:
        self._step_s = step_s
        self._loop = asyncio.get_running_loop()
        self._next_s = 0.0

    async def step(self) -> None:
        """Wait until the last step is long enough ago."""
        if (left_s := self._next_s - self._loop.time()) > 0:
            await asyncio.sleep(left_s)
        self._next_s = self._loop.time() + self._step_s
