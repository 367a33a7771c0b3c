"""Worker processes that read files: few, started when needed, killed when they overrun, gone when idle."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import TracebackType
from typing import Any, Self

import orjson

from answermesh.errors import Failure, Field, Reason
from answermesh.knowledge.entities import Mention
from answermesh.knowledge.reading import Passage, Reading
from answermesh.knowledge.relations import Relation
from answermesh.rpc.deadline import bound_s

_log = logging.getLogger(__name__)

# Files read at the same time.
WORKERS = 2
# Wall time of one file; the worker's own limit on processor time comes first unless the machine is overloaded.
READ_TIMEOUT_S = 120.0
# A worker holds some 60 MB; an idle one gives it back after this.
IDLE_S = 20.0
_EXIT_TIMEOUT_S = 5.0


class Pool:
    """Reads files in worker processes. An async context manager: on leaving, all workers are gone."""

    def __init__(
        self, *, workers: int = WORKERS, read_timeout_s: float = READ_TIMEOUT_S, idle_s: float = IDLE_S
    ) -> None:
        self._slots = asyncio.Semaphore(workers)
        self._read_timeout_s = read_timeout_s
        self._idle_s = idle_s
        self._idle: list[tuple[asyncio.subprocess.Process, asyncio.TimerHandle]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            process, timer = self._idle.pop()
            timer.cancel()
            await _stop(process)

    async def read(self, content: bytes, name: str, media_type: str) -> Reading:
        """The reading of one file; waits for a free worker.

        Raises Failure(UNREADABLE_DOCUMENT) for a file that cannot be read, or that kills or overruns its reader, and
        Failure(DEADLINE_EXCEEDED) at the call's deadline. Cancelled, it kills the worker.
        """
        async with self._slots:
            process = await self._worker()
            finished = False
            try:
                async with asyncio.timeout(bound_s(self._read_timeout_s)):
                    answer = await _exchange(process, content, name, media_type)
                finished = True
            except TimeoutError as error:
                if bound_s(self._read_timeout_s) < self._read_timeout_s:
                    raise Failure(
                        Reason.DEADLINE_EXCEEDED, f"{name}: the deadline passed while it was read."
                    ) from error
                what = f"takes longer than {self._read_timeout_s:g} s to be read; split it, or save it anew."
                raise unreadable(name, what) from error
            except (asyncio.IncompleteReadError, ConnectionError, RuntimeError) as error:
                # RuntimeError is what uvloop raises for writing to a pipe that closed.
                _log.warning("The reader of %r died; exit code %s", name, process.returncode)
                raise unreadable(
                    name, "needs too much memory or time to be read, or is damaged; split it, or save it anew."
                ) from error
            finally:
                if finished:
                    self._rest(process)
                else:
                    await _stop(process)
        if "unreadable" in answer:
            raise unreadable(name, answer["unreadable"])
        return _reading(answer["reading"])

    async def _worker(self) -> asyncio.subprocess.Process:
        while self._idle:
            process, timer = self._idle.pop()
            timer.cancel()
            if process.returncode is None:
                return process
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "answermesh.knowledge.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )

    def _rest(self, process: asyncio.subprocess.Process) -> None:
        def leave() -> None:
            self._idle[:] = [(one, timer) for one, timer in self._idle if one is not process]
            _kill(process)

        self._idle.append((process, asyncio.get_running_loop().call_later(self._idle_s, leave)))


def unreadable(name: str, what: str) -> Failure:
    """The failure of a file; `what` goes on after its name."""
    return Failure(Reason.UNREADABLE_DOCUMENT, f"{name} {what}", fields=[Field("content", what)])


async def _exchange(process: asyncio.subprocess.Process, content: bytes, name: str, media_type: str) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    header = orjson.dumps({"name": name, "media_type": media_type, "size_bytes": len(content)})
    process.stdin.write(len(header).to_bytes(4, "big") + header)
    process.stdin.write(content)
    await process.stdin.drain()
    size_bytes = int.from_bytes(await process.stdout.readexactly(4), "big")
    answer = await process.stdout.readexactly(size_bytes)
    return orjson.loads(answer) if size_bytes < 1 << 20 else await asyncio.to_thread(orjson.loads, answer)


def _reading(answer: Any) -> Reading:
    return Reading(answer["text"], answer["title"], answer["media_type"], tuple(map(_passage, answer["passages"])))


def _passage(answer: Any) -> Passage:
    return Passage(
        answer["start"],
        answer["end"],
        tuple(answer["headings"]),
        answer["page"],
        tuple(Mention(**mention) for mention in answer["mentions"]),
        tuple(Relation(**relation) for relation in answer["relations"]),
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    async with asyncio.timeout(_EXIT_TIMEOUT_S):
        await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
