"""A scripted OpenAI-compatible server on loopback: real HTTP, real streaming, faults on demand, every request recorded.

    async with ScriptedLLM() as llm:
        llm.script(Say("Paris."), Fault(429, retry_after="0"), Cut("Par"))  # in order, one a request
        llm.on(lambda request: "verdict" in request.prompt, SayJson({"verdict": 1}))  # always, before the script
        settings = Settings(providers=(llm.provider(),))

Nothing sleeps: a `hold` is an event that a chunk waits for; `request.disconnected` and `request.ended` are events too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any


@dataclass(slots=True, eq=False)
class Request:
    """One request as it came, and what became of it."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    # Set when the client hung up before the answer was complete.
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)
    # When that was, by time.perf_counter.
    disconnected_s: float = 0.0
    # Set when the server is done with the request, however it ended.
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def prompt(self) -> str:
        """All messages' texts, one a paragraph."""
        return "\n\n".join(message["content"] for message in self.body.get("messages", ()))


@dataclass(frozen=True, slots=True)
class Say:
    """A text, streamed chunk by chunk if the client asked for a stream.

    Chunks are the words unless given. `holds` maps a chunk's index (the number of chunks = the end) to an event that it
    waits for. `usage` is (input, output) tokens; None = the server tells none.
    """

    text: str = ""
    chunks: Sequence[str] = ()
    finish_reason: str = "stop"
    usage: tuple[int, int] | None = (11, 7)
    holds: Mapping[int, asyncio.Event] = field(default_factory=dict)

    def parts(self) -> list[str]:
        """The chunks; joined, they are the text."""
        return list(self.chunks) or [part + " " for part in self.text.split(" ")[:-1]] + self.text.split(" ")[-1:]


def SayJson(value: Any) -> Say:
    """A JSON text."""
    return Say(chunks=[json.dumps(value)])


@dataclass(frozen=True, slots=True)
class Fault:
    """An error status, with Retry-After if given (as the header's text)."""

    status: int
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Stall:
    """No answer at all, until the client hangs up."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A stream that breaks off after the text, by a closed connection; without text, before the answer's head."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A 200 whose body is not what the protocol says."""

    body: bytes = b"<html>it works</html>"


Answer = Say | Fault | Stall | Cut | Garbage
Scripted = Answer | Callable[[Request], Answer]


class ScriptedLLM:
    """The server; an async context manager. Unscripted requests get 400 and stand in `unexpected`."""

    def __init__(self, embed: Callable[[str], list[float]] | None = None) -> None:
        self.requests: list[Request] = []
        self.unexpected: list[Request] = []
        self._embed = embed
        self._script: deque[Scripted] = deque()
        self._rules: list[tuple[Callable[[Request], bool], Scripted]] = []
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def script(self, *answers: Scripted) -> None:
        """Answer the next requests that no rule matches by these, in order."""
        self._script.extend(answers)

    def on(self, matches: Callable[[Request], bool], answer: Scripted) -> None:
        """Answer every request that matches by this; the first rule that matches wins."""
        self._rules.append((matches, answer))

    def provider(self, **values: Any) -> dict[str, Any]:
        """A provider table for the settings that leads here."""
        return {"name": "scripted", "base_url": self.base_url, "models": ["scripted-model"], **values}

    async def request(self, index: int, timeout_s: float = 10.0) -> Request:
        """The index-th request (from 0), once it has come."""
        async with asyncio.timeout(timeout_s), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) > index)
        return self.requests[index]

    @property
    def base_url(self) -> str:
        """To be configured as the provider's."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/v1"

    async def __aenter__(self) -> ScriptedLLM:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve_one(reader, writer)
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass  # the end of this connection's own task; nobody above it waits
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()
            self._tasks.discard(task)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await _read_request(reader)
        async with self._arrived:
            self.requests.append(request)
            self._arrived.notify_all()
        answering = asyncio.create_task(self._answer(request, writer))
        # Clients send nothing after their request, so whatever ends this read is their hanging up.
        watching = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait((answering, watching), return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                request.disconnected_s = time.perf_counter()
                request.disconnected.set()
        finally:
            for task in (answering, watching):
                task.cancel()
            await asyncio.gather(answering, watching, return_exceptions=True)
            request.ended.set()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if request.path.endswith("/embeddings") and self._embed is not None:
            await _send_json(writer, 200, _embeddings(request, self._embed))
            return
        match self._choose(request):
            case Say() as say if request.body.get("stream"):
                await _stream(writer, request, say)
            case Say() as say:
                for hold in say.holds.values():
                    await hold.wait()
                await _send_json(writer, 200, _completion(request, say))
            case Fault(status, retry_after):
                headers = {"retry-after": retry_after} if retry_after is not None else {}
                await _send_json(writer, status, {"error": {"message": "scripted fault"}}, headers)
            case Cut(text):
                if text:
                    _send_stream_head(writer)
                    _send_event(writer, _chunk(request, {"content": text}))
                    await writer.drain()
                writer.transport.close()  # sends what is written, and then no end of the stream
            case Garbage(body):
                await _send(writer, 200, body, {"content-type": "text/html"})
            case Stall():
                await asyncio.Event().wait()

    def _choose(self, request: Request) -> Answer:
        for matches, answer in self._rules:
            if matches(request):
                return answer(request) if callable(answer) else answer
        if self._script:
            answer = self._script.popleft()
            return answer(request) if callable(answer) else answer
        self.unexpected.append(request)
        return Fault(400)


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(first.split(" ")[1], headers, json.loads(body) if body else {})


async def _send(writer: asyncio.StreamWriter, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} Scripted", f"content-length: {len(body)}", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()


async def _send_json(
    writer: asyncio.StreamWriter, status: int, value: Any, headers: Mapping[str, str] | None = None
) -> None:
    await _send(writer, status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


def _send_stream_head(writer: asyncio.StreamWriter) -> None:
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode())


def _send_event(writer: asyncio.StreamWriter, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value)
    event = f"data: {text}\n\n".encode()
    writer.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")


async def _stream(writer: asyncio.StreamWriter, request: Request, say: Say) -> None:
    _send_stream_head(writer)
    parts = say.parts()
    for index in range(len(parts) + 1):
        if index in say.holds:
            await writer.drain()
            await say.holds[index].wait()
        if index < len(parts):
            _send_event(writer, _chunk(request, {"content": parts[index]}))
    for event in _last_events(request, say):
        _send_event(writer, event)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _last_events(request: Request, say: Say) -> Iterator[Any]:
    yield _chunk(request, {}, say.finish_reason)
    if say.usage is not None and (request.body.get("stream_options") or {}).get("include_usage"):
        yield {**_chunk(request, {}), "choices": [], "usage": _usage(say.usage)}
    yield "[DONE]"


def _chunk(request: Request, delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": dict(delta), "finish_reason": finish_reason}
    model = request.body.get("model", "")
    return {"id": "scripted", "object": "chat.completion.chunk", "created": 0, "model": model, "choices": [choice]}


def _completion(request: Request, say: Say) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(say.parts())}
    choice = {"index": 0, "message": message, "finish_reason": say.finish_reason}
    answer = {"id": "scripted", "object": "chat.completion", "created": 0, "model": request.body.get("model", "")}
    usage = {"usage": _usage(say.usage)} if say.usage is not None else {}
    return {**answer, "choices": [choice], **usage}


def _usage(usage: tuple[int, int]) -> dict[str, int]:
    return {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}


def _embeddings(request: Request, embed: Callable[[str], list[float]]) -> dict[str, Any]:
    texts = request.body["input"]
    rows = [{"object": "embedding", "index": index, "embedding": embed(text)} for index, text in enumerate(texts)]
    usage = {"prompt_tokens": 3 * len(texts), "total_tokens": 3 * len(texts)}
    return {"object": "list", "model": request.body["model"], "data": rows, "usage": usage}
