"""Worker processes that read files: what kills one of them harms nobody else."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from answermesh.errors import Failure, Reason
from answermesh.knowledge.pool import Pool


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool(workers=1) as one:
        yield one


def readers() -> list[int]:
    """Worker processes that are children of this one."""
    pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids if "answermesh.knowledge.worker" in Path(f"/proc/{pid}/cmdline").read_text()]


async def test_a_file_is_read_in_another_process(pool: Pool) -> None:
    assert readers() == []
    reading = await pool.read(b"# Raft\n\nRaft elects.", "a.md", "")
    [passage] = reading.passages
    assert reading.text[passage.start : passage.end] == "# Raft\n\nRaft elects."
    assert len(readers()) == 1


async def test_one_process_reads_file_after_file(pool: Pool) -> None:
    await pool.read(b"One.", "a.txt", "")
    first = readers()
    await pool.read(b"Two.", "b.txt", "")
    assert readers() == first


async def test_a_reader_that_dies_fails_its_file_only(pool: Pool) -> None:
    await pool.read(b"One.", "a.txt", "")
    [pid] = readers()
    os.kill(pid, signal.SIGSTOP)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(failure_of(pool, b"Two."))
        os.kill(pid, signal.SIGKILL)
    assert (await reading).reason is Reason.UNREADABLE_DOCUMENT
    assert (await pool.read(b"Three.", "c.txt", "")).text == "Three."


async def test_a_file_that_takes_too_long_is_given_up() -> None:
    async with Pool(workers=1, read_timeout_s=0) as pool:
        failure = await failure_of(pool, b"Two.")
        assert failure.reason is Reason.UNREADABLE_DOCUMENT
        assert "split it" in failure.message
        assert readers() == []


async def test_a_cancelled_reading_leaves_no_process_and_a_pool_that_works(pool: Pool) -> None:
    await pool.read(b"One.", "a.txt", "")
    [pid] = readers()
    os.kill(pid, signal.SIGSTOP)
    reading = asyncio.ensure_future(pool.read(b"Two.", "b.txt", ""))
    # It is waiting for the stopped process once a ready task has run.
    await asyncio.wait([reading], timeout=0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert (await pool.read(b"Three.", "c.txt", "")).text == "Three."


async def test_no_process_is_left_when_the_pool_is() -> None:
    async with Pool(workers=2) as pool:
        async with asyncio.TaskGroup() as group:
            for name in ("a.txt", "b.txt"):
                group.create_task(pool.read(b"Text.", name, ""))
        assert len(readers()) == 2
    assert readers() == []


async def failure_of(pool: Pool, content: bytes) -> Failure:
    with pytest.raises(Failure) as caught:
        await pool.read(content, "b.txt", "")
    return caught.value
