"""A snapshot in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from answermesh.gateway.telemetry.counts import BOUNDS_S, Snapshot

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_OURS = "answermesh_gateway_"
_LE = [*(str(bound) for bound in BOUNDS_S), "+Inf"]


def exposed(snapshot: Snapshot) -> bytes:
    """The page of a snapshot, as `telemetry.observer` makes it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(snapshot))
    return generate_latest(registry)


class _Once(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        yield from _requests(self._snapshot["series"])
        yield from _gateway(self._snapshot)
        yield from _processes(self._snapshot)


def _requests(series: dict[str, Any]) -> Iterator[Metric]:
    requests = _counter("requests", "Requests that have ended.", "rpc", "protocol", "status")
    durations = HistogramMetricFamily(
        f"{_OURS}request_duration_seconds",
        "From a request's headers to its answer's end.",
        labels=["rpc", "protocol"],
    )
    received = _counter("request_bytes", "Bytes of request bodies.", "rpc", "protocol")
    sent = _counter("response_bytes", "Bytes of response bodies.", "rpc", "protocol")
    messages = _counter("stream_messages", "Messages on streams.", "rpc", "protocol", "direction")
    failed = "Calls that failed, by gRPC code; refusals of the gateway's own are not among them."
    errors = _counter("upstream_errors", failed, "rpc", "protocol", "code")
    for name, one in series.items():
        labels = name.split(" ")
        for status, count in one["statuses"].items():
            requests.add_metric([*labels, status], count)
        buckets = list(zip(_LE, accumulate(one["buckets"]), strict=True))
        durations.add_metric(labels, buckets, one["seconds"])
        received.add_metric(labels, one["bytes_in"])
        sent.add_metric(labels, one["bytes_out"])
        for direction in ("in", "out"):
            if one[f"messages_{direction}"]:
                messages.add_metric([*labels, direction], one[f"messages_{direction}"])
        for code, count in one["errors"].items():
            errors.add_metric([*labels, code], count)
    yield from (requests, durations, received, sent, messages, errors)


def _gateway(snapshot: Snapshot) -> Iterator[Metric]:
    yield _gauge(f"{_OURS}requests_in_flight", "Requests under way, streams among them.", snapshot["in_flight"])
    yield _gauge(f"{_OURS}streams_open", "Streams under way.", snapshot["streams_open"])
    yield _gauge(f"{_OURS}tasks", "Tasks of the event loops.", snapshot["tasks"])
    yield _gauge(f"{_OURS}workers", "Processes that answer.", snapshot["workers"])
    connections = GaugeMetricFamily(
        f"{_OURS}upstream_connections", "Connections in this state, over all processes.", labels=["upstream", "state"]
    )
    for upstream, states in snapshot["upstreams"].items():
        for state, count in states.items():
            connections.add_metric([upstream, state], count)
    yield connections
    reloads = _counter("schema_reloads", "Schemas that were taken up, and that were refused.", "result")
    for result, count in snapshot["schema_reloads"].items():
        reloads.add_metric([result], count)
    yield reloads
    dropped = _counter("access_log_dropped_lines", "Lines of the access log that could not be written in time.")
    dropped.add_metric([], snapshot["log_lines_dropped"])
    yield dropped


def _processes(snapshot: Snapshot) -> Iterator[Metric]:
    cpu = CounterMetricFamily("process_cpu_seconds", "User and system time of all processes.")
    cpu.add_metric([], snapshot["cpu_s"])
    yield cpu
    yield _gauge("process_resident_memory_bytes", "Memory of all processes.", snapshot["resident_bytes"])
    yield _gauge("process_open_fds", "Open descriptors of all processes.", snapshot["open_files"])


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(_OURS + name, text, labels=labels)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
