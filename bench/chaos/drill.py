"""The drill: `python -m bench.chaos.drill --kills 200 --how kill --whom owner`; one line of JSON at the end.

Whoever answers a question is killed (or stopped, and let go on when the answer is there) as soon as its text has begun;
or Postgres, or the author. Exit code 1 where an event was lost, doubled or changed, a reader not brought to the end, or
p95 of the time until the reader hears of the new owner (of the others: of the longest silence) is beyond its target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import tempfile
import time
from collections import Counter
from contextlib import aclosing, suppress
from dataclasses import asdict
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

TARGETS_S = {"owner": 3.0, "postgres": 5.0, "author": 5.0}


async def drill(folder: Path, kills: int, how: signal.Signals, whom: str, authors: int) -> dict[str, Any]:
    """So many hurt, one after the other; what came of it."""
    notes, times_s = Notes(), []
    async with world(folder, authors=authors, gateway=False) as hurt, Client(",".join(hurt.grpc)) as client:
        for _ in range(kills):
            times_s += await _one(hurt, client, notes, how, whom)
            # Both must be there to choose from, or the next one measures a start.
            await hurt.well()
        stored = await settled(hurt.postgres.dsn, notes.asked)
    history = History(notes.asked, notes.readings, stored)
    states = Counter(Query.State.Name(one.record.state) for one in stored.values())
    ordered = sorted(times_s)
    return {
        "whom": whom,
        "how": how.name,
        "kills": kills,
        "silence_s": {
            "p50": round(statistics.median(ordered), 3),
            "p95": round(ordered[int(len(ordered) * 0.95)], 3),
            "max": round(ordered[-1], 3),
        },
        "states": dict(states),
        "refused": dict(notes.refused),
        "readers_not_done": sum(1 for reading in notes.readings if reading.error),
        "violations": [asdict(one) for one in violations(history, text_of)],
    }


async def _one(hurt: World, client: Client, notes: Notes, how: signal.Signals, whom: str) -> list[float]:
    """Ask, hurt when the text begins, and read to the end; how long nothing was heard, if something was hurt."""
    question = notes.question()
    reading = Reading("asking client", "")
    hurt_s, last_s, silence_s, pid = 0.0, 0.0, 0.0, 0
    try:
        async with aclosing(client.ask(question)) as events:
            async for event in events:
                if not reading.query:
                    notes.asked[event.query] = question
                    reading = notes.reading("asking client", event.query)
                reading.events.append(seen := QueryEvent.FromString(bytes(event)))
                now_s = time.monotonic()
                if hurt_s and whom == "owner":
                    # What the new owner says first; the author's run begins anew, which takes its own time.
                    silence_s = silence_s or (now_s - hurt_s if seen.HasField("agent_started") else 0.0)
                elif hurt_s:
                    silence_s = max(silence_s, now_s - last_s)
                last_s = now_s
                if not hurt_s and seen.finding.HasField("text_delta"):
                    pid = await _pid(hurt, whom, seen.query)
                    os.kill(pid, how)
                    hurt_s = last_s = time.monotonic()
    except Failure as failure:
        reading.error = repr(failure)
        if not reading.query:
            notes.refused[str(failure)[:80]] += 1
    finally:
        if pid and how is signal.SIGSTOP:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return [silence_s] if hurt_s else []


async def _pid(hurt: World, whom: str, query: str) -> int:
    match whom:
        case "owner":
            return await owner_pid(hurt.postgres.dsn, query)
        case "postgres":
            return hurt.postgres.pid
        case _:
            # Whichever has the run; the first, if there is one.
            return hurt.kept[f"agent-{whom}-0"].pid


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.chaos.drill")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--how", choices=("kill", "stop"), default="kill")
    parser.add_argument("--whom", choices=tuple(TARGETS_S), default="owner")
    parser.add_argument("--authors", type=int, default=1, help="Replicas of the author.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        how = signal.SIGKILL if options.how == "kill" else signal.SIGSTOP
        came = asyncio.run(drill(Path(folder), options.kills, how, options.whom, options.authors))
    print(json.dumps(came))
    failed = came["violations"] or came["readers_not_done"] or came["silence_s"]["p95"] > TARGETS_S[options.whom]
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
