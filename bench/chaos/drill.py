"""The drill: `python -m bench.chaos.drill --kills 200 --how kill`; one line of JSON at the end.

Whoever answers a question is killed (or stopped, and let go on when another has taken over) as soon as its text has
begun. Exit code 1 where an event was lost, doubled or changed, a reader not brought to the end, or p95 of the time
until the reader hears of the new owner is beyond 3 s.
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

TARGET_S = 3.0


async def drill(folder: Path, kills: int, how: signal.Signals) -> dict[str, Any]:
    """So many owners hurt, one after the other; what came of it."""
    notes, times_s = Notes(), []
    async with world(folder, gateway=False) as hurt, Client(",".join(hurt.grpc)) as client:
        for _ in range(kills):
            times_s += await _one(hurt, client, notes, how)
            # Both must be there to choose from, or the next one measures a start.
            await hurt.well()
        stored = await settled(hurt.postgres.dsn, notes.asked)
    history = History(notes.asked, notes.readings, stored)
    states = Counter(Query.State.Name(one.record.state) for one in stored.values())
    ordered = sorted(times_s)
    return {
        "how": how.name,
        "kills": kills,
        "takeover_s": {
            "p50": round(statistics.median(ordered), 3),
            "p95": round(ordered[int(len(ordered) * 0.95)], 3),
            "max": round(ordered[-1], 3),
        },
        "states": dict(states),
        "refused": dict(notes.refused),
        "readers_not_done": sum(1 for reading in notes.readings if reading.error),
        "violations": [asdict(one) for one in violations(history, text_of)],
    }


async def _one(hurt: World, client: Client, notes: Notes, how: signal.Signals) -> list[float]:
    """Ask, hurt the owner when the text begins, and read to the end; the time until the next event, if it was hurt."""
    question = notes.question()
    reading = Reading("asking client", "")
    hurt_s, times_s, pid = 0.0, [], 0
    try:
        async with aclosing(client.ask(question)) as events:
            async for event in events:
                if not reading.query:
                    notes.asked[event.query] = question
                    reading = notes.reading("asking client", event.query)
                reading.events.append(seen := QueryEvent.FromString(bytes(event)))
                if hurt_s and not times_s and seen.HasField("agent_started"):
                    times_s.append(time.monotonic() - hurt_s)
                if not hurt_s and seen.finding.HasField("text_delta"):
                    pid = await owner_pid(hurt.postgres.dsn, seen.query)
                    os.kill(pid, how)
                    hurt_s = time.monotonic()
    except Failure as failure:
        reading.error = repr(failure)
        if not reading.query:
            notes.refused[str(failure)[:80]] += 1
    finally:
        if pid and how is signal.SIGSTOP:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    return times_s


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.chaos.drill")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--how", choices=("kill", "stop"), default="kill")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        how = signal.SIGKILL if options.how == "kill" else signal.SIGSTOP
        came = asyncio.run(drill(Path(folder), options.kills, how))
    print(json.dumps(came))
    failed = came["violations"] or came["readers_not_done"] or came["takeover_s"]["p95"] > TARGET_S
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
