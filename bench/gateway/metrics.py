"""The gateway's own figures, read from its /metrics as Prometheus would."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import httpx2 as httpx
from prometheus_client.parser import text_string_to_metric_families


@dataclass(frozen=True, slots=True)
class Scrape:
    """One look. `at_s` is monotonic, `memory` bytes; the look itself is among the requests `in_flight`."""

    at_s: float
    in_flight: float
    streams: float
    tasks: float
    files: float
    memory: float


async def scrape(client: httpx.AsyncClient) -> Scrape:
    """The sums of all workers."""
    answer = await client.get("/metrics")
    values = {family.name: family.samples[0].value for family in text_string_to_metric_families(answer.text)
              if family.samples}  # fmt: skip
    ours = "answermesh_gateway_"
    return Scrape(
        time.monotonic(),
        values[f"{ours}requests_in_flight"],
        values[f"{ours}streams_open"],
        values[f"{ours}tasks"],
        values["process_open_fds"],
        values["process_resident_memory_bytes"],
    )


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Growth per second of the line through the points with the least squares; 0 for fewer than two."""
    if len(points) < 2:
        return 0.0
    middle_x = sum(x for x, _ in points) / len(points)
    middle_y = sum(y for _, y in points) / len(points)
    spread = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / spread if spread else 0.0
