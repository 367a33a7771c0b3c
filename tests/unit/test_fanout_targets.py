"""What `make bench-fanout` judges, held against made-up figures."""

from __future__ import annotations

from typing import Any

from bench.fanout.targets import judge


def line(system: str, in_flight: int, rate: float, p50: float, p99: float, errors: int = 0) -> dict[str, Any]:
    figures = {"queries_per_s": rate, "overhead_p50_ms": p50, "overhead_p99_ms": p99, "errors": errors}
    return {"system": system, "chunks": 1, "in_flight": in_flight, **figures}


def missed(*lines: dict[str, Any]) -> list[str]:
    return [verdict.target for verdict in judge(lines, 50.0) if not verdict.met]


RAW = (line("raw", 1, 18, 4, 5), line("raw", 64, 500, 70, 90), line("raw", 256, 450, 500, 600))


def test_figures_at_the_bounds_meet_every_target() -> None:
    durable = (line("durable", 1, 16, 12, 14), line("durable", 64, 325, 140, 180), line("durable", 256, 300, 600, 900))
    assert missed(*RAW, *durable) == []


def test_each_miss_is_named() -> None:
    durable = (line("durable", 1, 16, 12.1, 14), line("durable", 64, 324, 140, 180))
    collapsed = line("durable", 256, 100, 600, 1300, errors=1)
    assert missed(*RAW, *durable, collapsed) == [
        "durable, 1 parts: throughput / raw",
        "durable: overhead at 1 - raw, ms",
        "durable, 1 parts, 256 in flight: errors",
        "durable, 1 parts, 256 in flight: p99 / p50",
    ]


def test_the_median_of_the_rounds_counts() -> None:
    rounds = [line("durable", 64, rate, 100, 120) for rate in (10, 400, 401)]
    assert missed(*RAW, *rounds) == []


def test_what_was_not_measured_is_not_judged() -> None:
    assert judge([line("durable", 64, 1, 1, 1)], 50.0) == []
