"""What is counted of each RPC: plain integers in one object, added to when a request ends.

A snapshot is a tree of dicts, lists and numbers, so that those of several processes can be added and written as JSON.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from answermesh.gateway.http.exchange import Exchange

# Upper bounds of the duration histogram, in seconds: from what the gateway itself costs to a long deadline.
BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

Snapshot = dict[str, Any]


class Series:
    """The counts of one RPC by one protocol."""

    __slots__ = ("buckets", "bytes_in", "bytes_out", "errors", "messages_in", "messages_out", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.buckets = [0] * (len(BOUNDS_S) + 1)
        self.seconds = 0.0
        self.bytes_in = 0
        self.bytes_out = 0
        self.messages_in = 0
        self.messages_out = 0
        # By name of the gRPC code; what the gateway itself refused is not among them.
        self.errors: dict[str, int] = {}

    def snapshot(self) -> Snapshot:
        """A copy, with keys as JSON has them."""
        return {
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "buckets": list(self.buckets),
            "seconds": self.seconds,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
            "messages_in": self.messages_in,
            "messages_out": self.messages_out,
            "errors": dict(self.errors),
        }


class Counts:
    """The counts of one process. There are as many series as RPCs and protocols: no path of a client makes one."""

    def __init__(self) -> None:
        self._series: dict[tuple[str, str], Series] = {}

    def finished(self, exchange: Exchange, duration_s: float) -> None:
        """Count a request that has ended. On every request's path, hence without a call that could be spared."""
        # Tried, not asked for: all but the first of each take the short way.
        try:
            series = self._series[exchange.rpc, exchange.protocol]
        except KeyError:
            series = self._series[exchange.rpc, exchange.protocol] = Series()
        try:
            series.statuses[exchange.status] += 1
        except KeyError:
            series.statuses[exchange.status] = 1
        series.buckets[bisect_left(BOUNDS_S, duration_s)] += 1
        series.seconds += duration_s
        series.bytes_in += exchange.received_bytes
        series.bytes_out += exchange.sent_bytes
        if exchange.streams:
            series.messages_in += exchange.messages_in
            series.messages_out += exchange.messages_out
        if (error := exchange.error) is not None and not error.own:
            series.errors[error.code.name] = series.errors.get(error.code.name, 0) + 1

    def snapshot(self, running: Iterable[Exchange] = ()) -> Snapshot:
        """All series by "rpc protocol"; the messages of streams under way are in it."""
        found = {f"{rpc} {protocol}": series.snapshot() for (rpc, protocol), series in self._series.items()}
        for exchange in running:
            if exchange.streams:
                series = found.setdefault(f"{exchange.rpc} {exchange.protocol}", Series().snapshot())
                series["messages_in"] += exchange.messages_in
                series["messages_out"] += exchange.messages_out
        return found


def add(one: Any, other: Any) -> Any:
    """The sum of two snapshots: numbers are added, lists element by element, dicts by key."""
    if isinstance(one, dict):
        return {key: add(one[key], other[key]) if key in one and key in other else one.get(key, other.get(key))
                for key in (*one, *(key for key in other if key not in one))}  # fmt: skip
    if isinstance(one, list):
        return [add(left, right) for left, right in zip(one, other, strict=True)]
    return one + other
