"""The access log: one JSON object a line, written by a thread, so that a slow disk or pipe holds nobody up.

Lines are handed over at most 0.2 s or 64 KiB late. What the writer cannot keep up with is dropped and counted: a log
must cost neither memory without bound nor an answer.
"""

from __future__ import annotations

import asyncio
import os
import queue
import stat
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson

from answermesh.errors import invalid_field
from answermesh.gateway.http.exchange import Exchange
from answermesh.gateway.telemetry.trace import trace_id

_FLUSH_S = 0.2
_FLUSH_BYTES = 64 << 10
_MOST_PENDING_BYTES = 8 << 20
# Several processes write to one pipe: only up to this is a write in one piece (pipe(7)).
_PIPE_BYTES = 4096
_CLOSE_S = 1.0


class AccessLog:
    """Lines to the file at `path`, or to stdout for "-". Belongs to the running loop. Raises Failure(INVALID_FIELD)."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor = _opened(path)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        # Each counter has one writer: the loop, or the thread.
        self._handed_bytes = 0
        self._done_bytes = 0
        self._refused_lines = 0
        self._unwritten_lines = 0
        self._queue: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="access-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that came faster than they could be written, or that could not be written."""
        return self._refused_lines + self._unwritten_lines

    def finished(self, exchange: Exchange, duration_s: float) -> None:
        """Note a request that has ended."""
        line = _line(exchange, duration_s)
        if self._handed_bytes - self._done_bytes + self._bytes > _MOST_PENDING_BYTES:
            self._refused_lines += 1
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= _FLUSH_BYTES:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._flush)

    def reopen(self) -> None:
        """Open the file anew, after it was moved away. Lines so far go to the old one."""
        self._flush()
        self._queue.put([])

    def close(self) -> None:
        """Write what is left, for at most a second."""
        self._flush()
        self._queue.put(None)
        self._thread.join(_CLOSE_S)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._lines:
            self._handed_bytes += self._bytes
            self._queue.put(self._lines)
            self._lines, self._bytes = [], 0

    # ------------------------------------------------------------ in the thread
    def _write_all(self) -> None:
        while (lines := self._queue.get()) is not None:
            if lines:
                self._write(lines)
                self._done_bytes += sum(map(len, lines))
            else:
                self._open_anew()
        if self._path != "-":
            os.close(self._descriptor)

    def _write(self, lines: list[bytes]) -> None:
        most = _PIPE_BYTES if stat.S_ISFIFO(os.fstat(self._descriptor).st_mode) else _FLUSH_BYTES
        try:
            for piece in _pieces(lines, most):
                while piece:
                    piece = piece[os.write(self._descriptor, piece) :]
        except OSError:
            # A full disk or a closed pipe: there is nobody to tell but the metrics.
            self._unwritten_lines += len(lines)

    def _open_anew(self) -> None:
        if self._path == "-":
            return
        try:
            descriptor = os.open(self._path, _FLAGS, 0o640)
        except OSError:
            return
        os.close(self._descriptor)
        self._descriptor = descriptor


_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def _opened(path: str) -> int:
    if path == "-":
        return sys.__stdout__.fileno() if sys.__stdout__ else 1
    try:
        return os.open(Path(path), _FLAGS, 0o640)
    except OSError as error:
        raise invalid_field("--access-log", f"{path} cannot be opened: {error.strerror}.") from error


def _pieces(lines: list[bytes], most_bytes: int) -> list[bytes]:
    """The lines joined to pieces of at most `most_bytes`, or of one line."""
    pieces: list[list[bytes]] = [[]]
    size = 0
    for line in lines:
        if size + len(line) > most_bytes and pieces[-1]:
            pieces.append([])
            size = 0
        pieces[-1].append(line)
        size += len(line)
    return [b"".join(piece) for piece in pieces]


def _line(exchange: Exchange, duration_s: float) -> bytes:
    trace = trace_id(exchange.headers.get("traceparent", ""))
    return orjson.dumps(
        {
            "time": datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds"),
            "peer": exchange.peer,
            "method": exchange.method,
            "path": exchange.path,
            "status": exchange.status,
            "received_bytes": exchange.received_bytes,
            "sent_bytes": exchange.sent_bytes,
            "duration_ms": round(duration_s * 1000, 3),
            "rpc": exchange.rpc or None,
            "protocol": exchange.protocol,
            "code": exchange.error.code.name if exchange.error else None,
            "request_id": exchange.request_id,
            "trace_id": trace or None,
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )
