"""Server streams on HTTP: JSON array, NDJSON or SSE by `Accept`, or the bare bytes of HttpBody.

A framing says how messages follow each other and how an error after the first message shows. Where the format has no
place for an error (array, bytes), the connection is cut as well, so that nobody takes a part for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Framing(Protocol):
    """How one stream is written."""

    content_type: str
    # Sent while nothing happens; empty for formats that have no such thing.
    heartbeat: bytes
    # Whether headers may go out before the first message: only if an error can still be shown.
    shows_errors: bool
    # Whether the connection is cut after an error, since the format would else look whole.
    cut_after_error: bool

    def items(self, bodies: Sequence[bytes], event_ids: Sequence[str] = ()) -> bytes:
        """Messages, at least one; where there are `event_ids`, one for each, "" for none."""
        ...

    def end(self) -> bytes:
        """The end of a stream that went well."""
        ...

    def error(self, status: bytes) -> bytes | None:
        """The end of a stream that failed; None if the connection must be cut instead."""
        ...


class Sse:
    """Server-sent events: an `id:` where the method has one, errors as `event: error`."""

    content_type = "text/event-stream"
    heartbeat = b": alive\n\n"
    shows_errors = True
    cut_after_error = False

    def items(self, bodies: Sequence[bytes], event_ids: Sequence[str] = ()) -> bytes:
        """One event each. ProtoJSON has no line breaks, so one `data:` line is enough."""
        if not event_ids:
            return b"data: %b\n\n" % b"\n\ndata: ".join(bodies)
        return b"".join(map(_event, bodies, event_ids))

    def end(self) -> bytes:
        """Nothing: the body ends."""
        return b""

    def error(self, status: bytes) -> bytes | None:
        """An event named error."""
        return b"event: error\ndata: %b\n\n" % status


def _event(body: bytes, event_id: str) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (event_id.encode(), body) if event_id else b"data: %b\n\n" % body


class Ndjson:
    """One JSON value a line; an error is the last line, {"error": …}."""

    content_type = "application/x-ndjson"
    heartbeat = b""
    shows_errors = True
    cut_after_error = False

    def items(self, bodies: Sequence[bytes], event_ids: Sequence[str] = ()) -> bytes:
        """A line each."""
        return b"%b\n" % b"\n".join(bodies)

    def end(self) -> bytes:
        """Nothing: the body ends."""
        return b""

    def error(self, status: bytes) -> bytes | None:
        """The last line."""
        return status + b"\n"


class JsonArray:
    """One JSON array."""

    content_type = "application/json"
    heartbeat = b""
    shows_errors = False
    cut_after_error = True

    def __init__(self) -> None:
        self._opened = False

    def items(self, bodies: Sequence[bytes], event_ids: Sequence[str] = ()) -> bytes:
        """Elements, with what goes before them."""
        before = b"," if self._opened else b"["
        self._opened = True
        return before + b",".join(bodies)

    def end(self) -> bytes:
        """The closing bracket."""
        return b"]" if self._opened else b"[]"

    def error(self, status: bytes) -> bytes | None:
        """An element {"error": …} for who reads along; the array stays open, so that nobody takes it for whole."""
        return (b"," if self._opened else b"[") + status


class Raw:
    """The bytes of HttpBody messages, one after the other, under the first one's Content-Type."""

    content_type = ""
    heartbeat = b""
    shows_errors = False
    cut_after_error = True

    def items(self, bodies: Sequence[bytes], event_ids: Sequence[str] = ()) -> bytes:
        """The bytes."""
        return b"".join(bodies)

    def end(self) -> bytes:
        """Nothing: the body ends."""
        return b""

    def error(self, status: bytes) -> bytes | None:
        """None: bytes cannot hold an error."""
        return None


_FORMATS: dict[str, type[Sse] | type[Ndjson] | type[JsonArray]] = {
    "text/event-stream": Sse,
    "application/x-ndjson": Ndjson,
    "application/ndjson": Ndjson,
    "application/jsonl": Ndjson,
    "application/x-jsonlines": Ndjson,
    "application/json": JsonArray,
    "application/*": JsonArray,
    "text/*": Sse,
    "*/*": JsonArray,
}


def choose_framing(accept: str) -> Framing:
    """The format that `Accept` likes best; the first named of equals, and a JSON array where it names none of ours."""
    best: type[Sse] | type[Ndjson] | type[JsonArray] = JsonArray
    best_quality = 0.0
    for choice in accept.lower().split(","):
        media, _, parameters = choice.partition(";")
        framing = _FORMATS.get(media.strip())
        if framing is None:
            continue
        quality = _quality(parameters)
        if quality > best_quality:
            best, best_quality = framing, quality
    return best()


def _quality(parameters: str) -> float:
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
