"""CPU and rate of the gateway alone: `python -m bench.gateway.cost [--seconds 4] [--workers 1 2]`, JSON lines.

Backend and load (wrk, 32 connections) are on the last processor, a gateway of one worker is on the first, one of more
is on all. CPU is that of the gateway's process tree, per request; where several things share the machine, read that.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from bench.gateway.parts import backend, gateway, generate

PARCEL = {
    "id": "parcel-2026-000451",
    "number": "9007199254740993",
    "stage": "STAGE_ON_ITS_WAY",
    "from": {"name": "Åsa Lind", "street": "Kungsgatan 4", "city": "Umeå", "latitude": 63.8258, "longitude": 20.263},
    "to": {"name": "João Prado", "street": "Rua Augusta 210", "city": "Lisboa", "latitude": 38.71, "longitude": -9.14},
    "items": [
        {"label": f"part {n}", "count": n, "weight": {"grams": str(n * 1250), "measured": True}, "tags": ["a", "b"]}
        for n in range(1, 6)
    ],
    "notes": {"door": "ring twice", "floor": "3", "fragile": "the two upper boxes"},
    "sentAt": "2026-11-20T08:15:30.250Z",
    "remark": "Please leave it with the neighbour if nobody is at home.",
    "seal": "q83vASNFZ4mrze8BI0VniavN7wEjRWeJ",
}
LOADS = {"echo": "/v1/parcels", "tiny": "/v1/tiny/abc?n=4", "feed": "/v1/feed/100"}
_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(root: int) -> float:
    """Processor time of a process and of all below it that live."""
    ticks = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            ticks[int(folder.name)] = (int(fields[1]), int(fields[11]) + int(fields[12]))
    tree = {root}
    while more := {pid for pid, (parent, _) in ticks.items() if parent in tree} - tree:
        tree |= more
    return sum(ticks[pid][1] for pid in tree if pid in ticks) / _TICKS


async def measure(
    address: str, pid: int, load: str, seconds: int, script: Path, pinned: list[str]
) -> dict[str, object]:
    """One load on a running gateway, after a second of warming up."""
    command = [*pinned, "wrk", "-t1", "-c32", "--latency", *(["-s", str(script)] if load == "echo" else [])]
    url = f"http://{address}{LOADS[load]}"
    await _run(*command, "-d1s", url)
    before_s = cpu_s(pid)
    told = await _run(*command, f"-d{seconds}s", url)
    used_s = cpu_s(pid) - before_s
    if failed := re.search(r"Non-2xx or 3xx responses: \d+|Socket errors: .*", told):
        raise SystemExit(f"{load}: {failed[0]}")
    requests = int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]  # wrk always says so
    p99 = re.search(r"^\s+99%\s+(\S+)", told, re.MULTILINE)
    return {"load": load, "cpu_us": round(used_s / requests * 1e6, 1), "requests_per_s": round(requests / seconds),
            "p99": p99[1] if p99 else None}  # fmt: skip


async def _run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()


async def main() -> None:
    """Measure each number of workers on each load."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed, so nothing was measured; Debian has it: apt-get install wrk.")
    last = str((os.cpu_count() or 1) - 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        described = generate(folder)
        script = folder / "parcel.lua"
        body = json.dumps(PARCEL, ensure_ascii=False)
        script.write_text(
            f'wrk.method="POST"\nwrk.headers["Content-Type"]="application/json"\nwrk.body=[==[{body}]==]\n'
        )
        async with backend(folder, "steady", 0.0, "taskset", "-c", last) as steady:
            for workers in arguments.workers:
                pinned = ("taskset", "-c", "0") if workers == 1 else ()
                options = ("--descriptor-set", str(described), "--upstream", f"127.0.0.1:{steady.port}=load.v1.Steady")
                async with gateway(folder, *options, "--workers", str(workers), pinned=pinned) as (address, pid):
                    for load in LOADS:
                        taken = await measure(address, pid, load, arguments.seconds, script, ["taskset", "-c", last])
                        print(json.dumps({"workers": workers, **taken}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
