"""Chaos: `python -m bench.chaos --seed 7 --minutes 10`. Prints its seed first and one line of JSON at the end.

Exit code 1, with all violations, where a promise was broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from answermesh.v1.query_pb2 import Query
from bench.chaos.checker import violations
from bench.chaos.clients import Notes, asks, browses, watches
from bench.chaos.history import History
from bench.chaos.nemesis import Nemesis
from bench.chaos.storage import settled
from bench.chaos.team import text_of
from bench.chaos.world import world

CLIENTS = (asks, asks, asks, watches, watches, browses, browses)


async def chaos(folder: Path, seed: int, seconds: float, *, small: bool = False) -> dict[str, Any]:
    """Hurt a mesh for so long while it is used; what came of it. A `small` one has one client of each kind."""
    notes = Notes()
    clients = tuple(dict.fromkeys(CLIENTS)) if small else CLIENTS
    async with world(folder, authors=1 if small else 2) as hurt:
        nemesis = Nemesis(hurt, seed)
        until_s = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number, client in enumerate(clients):
                group.create_task(client(hurt, notes, seed * len(clients) + number, until_s))
            await nemesis.run(seconds)
        stored = await settled(hurt.postgres.dsn, notes.asked)
        deaths = {name: kept.deaths for name, kept in hurt.kept.items()}
    history = History(notes.asked, notes.readings, stored)
    states = Counter(Query.State.Name(stored[name].record.state) for name in notes.asked if name in stored)
    return {
        "seed": seed,
        "seconds": seconds,
        "queries": len(notes.asked),
        "readings": len(notes.readings),
        "slowest_s": round(max((reading.took_s for reading in notes.readings), default=0.0), 1),
        "events": sum(len(reading.events) for reading in notes.readings),
        "states": {name.removeprefix("STATE_"): count for name, count in states.items()},
        "failures": dict(_causes(history).most_common(8)),
        "refused": dict(notes.refused),
        "deeds": dict(nemesis.done),
        "deaths": deaths,
        "violations": [asdict(one) for one in violations(history, text_of)],
    }


def _causes(history: History) -> Counter[str]:
    records = [history.stored[name].record for name in history.asked if name in history.stored]
    return Counter(
        f"{failure.agent}: {failure.error.message[:100]}" for record in records for failure in record.failures
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.chaos")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--keep", type=Path, help="Folder to leave the logs in.")
    options = parser.parse_args()
    print(f"chaos: seed {options.seed}, {options.minutes:g} minutes", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        place = options.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        came = asyncio.run(chaos(place, options.seed, options.minutes * 60))
    print(json.dumps(came))
    raise SystemExit(1 if came["violations"] else 0)


if __name__ == "__main__":
    main()
