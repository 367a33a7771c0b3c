"""What the figures must be, as ratios to raw grpc.aio taken round by round. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Line = Mapping[str, Any]
# Ratios of throughput at the load where the system does best; of overhead with one query in flight.
LEAST_THROUGHPUT = {"ephemeral": 1.0, "durable": 0.65}
MOST_OVERHEAD_TIMES = {"ephemeral": 1.3}
MOST_OVERHEAD_MORE_MS = {"durable": 8.0}
# No collapse: the slowest of a hundred takes at most twice the median.
MOST_TAIL_TIMES = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target, and how it was met."""

    target: str
    measured: float
    bound: float
    met: bool


def judge(lines: Sequence[Line], wait_ms: float) -> list[Verdict]:
    """Hold measurements against the targets: medians over the rounds; what was not measured is not judged."""
    found: list[Verdict] = []
    systems = list(dict.fromkeys(line["system"] for line in lines if line["system"] != "raw"))
    for chunks in sorted({line["chunks"] for line in lines}):
        for system in systems:
            found += _throughput(lines, system, chunks)
            if chunks == 1:
                found += _overhead(lines, system)
            found += _tail(lines, system, chunks, wait_ms)
    return found


def _throughput(lines: Sequence[Line], system: str, chunks: int) -> Iterable[Verdict]:
    loads = {line["in_flight"] for line in _of(lines, system, chunks)}
    ours = max((_median(lines, system, chunks, load, "queries_per_s") for load in loads), default=0.0)
    raw = max((_median(lines, "raw", chunks, load, "queries_per_s") for load in loads), default=0.0)
    if ours and raw:
        least = LEAST_THROUGHPUT[system]
        ratio = round(ours / raw, 3)
        yield Verdict(f"{system}, {chunks} parts: throughput / raw", ratio, least, ratio >= least)


def _overhead(lines: Sequence[Line], system: str) -> Iterable[Verdict]:
    ours, raw = (_median(lines, name, 1, 1, "overhead_p50_ms") for name in (system, "raw"))
    if not ours or not raw:
        return
    if (times := MOST_OVERHEAD_TIMES.get(system)) is not None:
        yield Verdict(f"{system}: overhead at 1 / raw", round(ours / raw, 3), times, ours <= raw * times)
    if (more_ms := MOST_OVERHEAD_MORE_MS.get(system)) is not None:
        yield Verdict(f"{system}: overhead at 1 - raw, ms", round(ours - raw, 2), more_ms, ours <= raw + more_ms)


def _tail(lines: Sequence[Line], system: str, chunks: int, wait_ms: float) -> Iterable[Verdict]:
    load = max((line["in_flight"] for line in _of(lines, system, chunks)), default=0)
    if load < 256:
        return
    name = f"{system}, {chunks} parts, {load} in flight"
    errors = sum(line["errors"] for line in _of(lines, system, chunks))
    yield Verdict(f"{name}: errors", errors, 0, errors == 0)
    p50, p99 = (_median(lines, system, chunks, load, f"overhead_{p}_ms") + wait_ms for p in ("p50", "p99"))
    times = round(p99 / p50, 3)
    yield Verdict(f"{name}: p99 / p50", times, MOST_TAIL_TIMES, times <= MOST_TAIL_TIMES)


def _of(lines: Sequence[Line], system: str, chunks: int) -> list[Line]:
    return [line for line in lines if line["system"] == system and line["chunks"] == chunks]


def _median(lines: Sequence[Line], system: str, chunks: int, in_flight: int, figure: str) -> float:
    values = [float(line[figure]) for line in _of(lines, system, chunks) if line["in_flight"] == in_flight]
    return median(values) if values else 0.0
