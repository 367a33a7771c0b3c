"""What is counted, shared between processes, shown, and logged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from answermesh.errors import Failure
from answermesh.gateway.http.asgi import AsgiExchange
from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.options import Options
from answermesh.gateway.telemetry.access_log import AccessLog
from answermesh.gateway.telemetry.counts import Counts, add
from answermesh.gateway.telemetry.observer import Observer
from answermesh.gateway.telemetry.sharing import Shared
from answermesh.gateway.telemetry.trace import trace_id

_ID = "0af7651916cd43dd8448eb211c80319c"


def exchange(rpc: str = "p.A.Get", status: int = 200) -> Exchange:
    async def never(*_: object) -> dict[str, object]:
        raise AssertionError("nobody reads or writes")

    scope = {"type": "http", "method": "GET", "path": "/a", "headers": [], "client": ("127.0.0.1", 5)}
    made = AsgiExchange(scope, never, never, Options(), lambda: None)  # type: ignore[arg-type]  # it is never called
    made.rpc, made.status = rpc, status
    return made


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{_ID}-b7ad6b7169203331-01", _ID),
        (f"01-{_ID}-b7ad6b7169203331-01-more", _ID),
        (f"00-{_ID}-b7ad6b7169203331-01-more", ""),
        (f"ff-{_ID}-b7ad6b7169203331-01", ""),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", ""),
        (f"00-{_ID}-{'0' * 16}-01", ""),
        (f"00-{_ID.upper()}-b7ad6b7169203331-01", ""),
        ("", ""),
    ],
)
def test_a_trace_is_that_of_a_header_that_can_be_read(header: str, found: str) -> None:
    assert trace_id(header) == found


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([200, 404]), st.floats(0, 400)), max_size=30))
def test_two_processes_together_count_what_one_would(requests: list[tuple[str, int, float]]) -> None:
    whole, halves = Counts(), (Counts(), Counts())
    for number, (rpc, status, duration_s) in enumerate(requests):
        whole.finished(exchange(rpc, status), duration_s)
        halves[number % 2].finished(exchange(rpc, status), duration_s)
    one, other = whole.snapshot(), add(halves[0].snapshot(), halves[1].snapshot())
    for series in (*one.values(), *other.values()):
        series["seconds"] = pytest.approx(series["seconds"])
    assert one == other


async def test_who_takes_the_place_of_a_process_that_died_goes_on_from_its_counts(tmp_path: Path) -> None:
    async with (
        Observer.open({}, "", Shared(tmp_path, 0)) as first,
        Observer.open({}, "", Shared(tmp_path, 1)) as second,
    ):
        first.finished(exchange(), 0.1)
        first.page()
        second.finished(exchange(), 0.1)
        assert b'requests_total{protocol="rest",rpc="p.A.Get",status="200"} 2.0' in second.page()[1]
    async with Observer.open({}, "", Shared(tmp_path, 0)) as successor:
        successor.finished(exchange(), 0.1)
        assert b'requests_total{protocol="rest",rpc="p.A.Get",status="200"} 3.0' in successor.page()[1]


async def test_what_the_log_cannot_write_in_time_is_dropped_and_counted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log = AccessLog(str(pipe))
        # Nobody reads: the pipe takes 64 KiB, the log 8 MiB, and then no more.
        while not log.dropped:
            log.finished(exchange(), 0.0)
        written = os.read(reader, 1 << 20)
        assert written.startswith(b'{"time":')
    finally:
        os.close(reader)
    log.close()


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="access-log"):
        AccessLog(str(tmp_path / "none" / "log"))
