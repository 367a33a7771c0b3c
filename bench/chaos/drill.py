"""The drill: `python -m bench.chaos.drill --kills 200 --how kill --whom owner`; one line of JSON at the end.

Whoever answers a question is killed (or stopped, and let go on when the answer is there) as soon as its text has begun;
or Postgres, or one of the authors while `--readers` others ask too. Exit code 1 where an event was lost, doubled or
changed, a reader not brought to the end, or the silence is beyond its target. It lasts for the owner until the reader
hears of the new one, for Postgres it is the longest (of both p95 counts), and for an author the longest of a reader
whose answer was under way there, of which the worst counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from answermesh.client import Client
from answermesh.errors import Failure
from answermesh.v1.query_pb2 import Query, QueryEvent
from bench.chaos.checker import violations
from bench.chaos.clients import Notes
from bench.chaos.history import History, Reading
from bench.chaos.storage import owner_pid, settled
from bench.chaos.team import text_of
from bench.chaos.world import World, world

# How long one is stopped at least.
STOPPED_S = 3.0
TARGETS_S = {"owner": 3.0, "postgres": 5.0, "author": 2.0}


async def drill(folder: Path, kills: int, how: signal.Signals, whom: str, authors: int, readers: int) -> dict[str, Any]:
    """So many hurt, one after the other; what came of it."""
    notes, times_s = Notes(), []
    # How long an author takes to say again what was told is its own affair; the silence is the mesh's.
    hurting = world(folder, authors=authors, gateway=False, resumes=whom == "author")
    async with hurting as hurt, Client(",".join(hurt.grpc)) as client:
        async with asyncio.TaskGroup() as others:
            done = asyncio.Event()
            reading = [others.create_task(_others(client, notes, whom, done)) for _ in range(readers)]
            for number in range(kills):
                times_s += await _one(client, notes, whom, partial(_hurt, hurt, whom, number % authors, how))
                # Both must be there to choose from, or the next one measures a start.
                await hurt.well()
            done.set()
        times_s += [time_s for task in reading for time_s in task.result()]
        stored = await settled(hurt.postgres.dsn, notes.asked)
    history = History(notes.asked, notes.readings, stored)
    states = Counter(Query.State.Name(one.record.state) for one in stored.values())
    ordered = sorted(times_s) or [0.0]
    return {
        "whom": whom,
        "how": how.name,
        "kills": kills,
        "readers": readers,
        "felt": len(ordered),
        "silence_s": {
            "p50": round(statistics.median(ordered), 3),
            "p95": round(ordered[int(len(ordered) * 0.95)], 3),
            "max": round(ordered[-1], 3),
        },
        "states": dict(states),
        "failures": dict(
            Counter(f"{one.agent}: {one.error.message}" for each in stored.values() for one in each.record.failures)
        ),
        "refused": dict(notes.refused),
        "readers_not_done": sum(1 for reading in notes.readings if reading.error),
        "violations": [asdict(one) for one in violations(history, text_of)],
    }


async def _others(client: Client, notes: Notes, whom: str, done: asyncio.Event) -> list[float]:
    """Ask again and again, and hurt nothing; the silences."""
    times_s: list[float] = []
    while not done.is_set():
        times_s += await _one(client, notes, whom)
    return times_s


async def _one(
    client: Client, notes: Notes, whom: str, hurt: Callable[[str], Awaitable[int]] | None = None
) -> list[float]:
    """Ask, hurt when the text begins, and read to the end; how long nothing was heard, if it was hurt by that.

    `hurt` gets the query, and gives the process to let go on in the end, or 0.
    """
    question = notes.question()
    reading = Reading("asking client", "")
    hurt_s, last_s, silence_s, tries, stopped = 0.0, math.inf, 0.0, 0, 0
    try:
        async with aclosing(client.ask(question)) as events:
            async for event in events:
                if not reading.query:
                    notes.asked[event.query] = question
                    reading = notes.reading("asking client", event.query)
                reading.events.append(seen := QueryEvent.FromString(bytes(event)))
                now_s = time.monotonic()
                tries = max(tries, seen.agent_started.attempt if seen.agent_started.agent == "author" else 0)
                if whom != "owner":
                    silence_s = max(silence_s, now_s - last_s)
                elif hurt_s:
                    # What the new owner says first; the author's run begins anew, which takes its own time.
                    silence_s = silence_s or (now_s - hurt_s if seen.HasField("agent_started") else 0.0)
                last_s = now_s
                if hurt and not hurt_s and seen.finding.HasField("text_delta"):
                    stopped = await hurt(seen.query)
                    hurt_s = last_s = time.monotonic()
    except Failure as failure:
        reading.error = repr(failure)
        if not reading.query:
            notes.refused[str(failure)[:80]] += 1
    finally:
        if stopped:
            # This reader's answer may be written elsewhere, and end at once; others have to notice too.
            await asyncio.sleep(max(0.0, hurt_s + STOPPED_S - time.monotonic()))
            with suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGCONT)
    felt = tries > 1 if whom == "author" else bool(hurt_s)
    return [silence_s] if felt else []


async def _hurt(hurt: World, whom: str, author: int, how: signal.Signals, query: str) -> int:
    """Kill or stop whom the drill is about; the process to let go on later, or 0."""
    match whom:
        case "owner":
            pid = await owner_pid(hurt.postgres.dsn, query)
        case "postgres":
            pid = hurt.postgres.pid
        case _:
            # One after the other: whether this reader's answer is under way there, its events tell.
            pid = hurt.kept[f"agent-{whom}-{author}"].pid
    os.kill(pid, how)
    return pid if how is signal.SIGSTOP else 0


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.chaos.drill")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--how", choices=("kill", "stop"), default="kill")
    parser.add_argument("--whom", choices=tuple(TARGETS_S), default="owner")
    parser.add_argument("--authors", type=int, default=1, help="Replicas of the author.")
    parser.add_argument("--readers", type=int, default=0, help="Who ask beside the one that hurts.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        how = signal.SIGKILL if options.how == "kill" else signal.SIGSTOP
        came = asyncio.run(drill(Path(folder), options.kills, how, options.whom, options.authors, options.readers))
    print(json.dumps(came))
    silence_s = came["silence_s"]["max" if options.whom == "author" else "p95"]
    failed = came["violations"] or came["readers_not_done"] or silence_s > TARGETS_S[options.whom]
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
