"""Clients of a world that is hurt: each asks again and again, and writes down what it saw."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

import httpx2 as httpx
from google.protobuf import json_format

from answermesh.client import Client
from answermesh.client.patience import GRACE_S
from answermesh.errors import Failure
from answermesh.v1.query_pb2 import QueryEvent
from bench.chaos.history import Reading
from bench.chaos.world import World

# What is promised: a query ends by its plan's 60 s, and a reader comes back for two minutes (client.patience).
_PATIENCE_S = 60.0 + GRACE_S
# What an EventSource waits before it comes back, and how long it bears silence: a heartbeat comes every second.
_RETRY_S = 0.3
_SILENCE_S = 4.0
# Of answers, those whose reader goes away in the middle.
_LEAVES = 0.1


@dataclass
class Notes:
    """What the clients write down."""

    asked: dict[str, str] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    # Questions that the mesh did not take on, by what it said: promised to nobody.
    refused: Counter[str] = field(default_factory=Counter)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def question(self) -> str:
        """One that nobody has asked."""
        return f"q{next(self._numbers)}"

    def reading(self, reader: str, query: str) -> Reading:
        """A new reading."""
        reading = Reading(reader, query)
        self.readings.append(reading)
        return reading


async def asks(world: World, notes: Notes, seed: int, until_s: float) -> None:
    """Asks and listens, by the typed client; now and then it goes away in the middle."""
    chance = random.Random(seed)
    addresses = world.grpc[:] if seed % 2 else world.grpc[::-1]
    async with Client(",".join(addresses)) as client:
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            question, leaves_after = notes.question(), chance.randrange(30) if chance.random() < _LEAVES else None
            reading = Reading("asking client", "")
            try:
                async with asyncio.timeout(_PATIENCE_S), aclosing(client.ask(question)) as events:
                    async for event in events:
                        if not reading.query:
                            notes.asked[event.query] = question
                            reading = notes.reading("asking client", event.query)
                        reading.events.append(QueryEvent.FromString(bytes(event)))
                        if len(reading.events) == leaves_after:
                            reading.left = True
                            break
            except (Failure, TimeoutError) as error:
                reading.error = repr(error)
                if not reading.query:
                    notes.refused[type(error).__name__ if isinstance(error, TimeoutError) else str(error)[:80]] += 1
                    await asyncio.sleep(0.2)
            reading.took_s = time.monotonic() - began_s


async def watches(world: World, notes: Notes, seed: int, until_s: float) -> None:
    """Lets queries run in the background, and reads each twice at once, at different orchestrators."""
    async with Client(",".join(world.grpc)) as first, Client(",".join(world.grpc[::-1])) as second:
        while time.monotonic() < until_s:
            question = notes.question()
            query = await _created(first, question, notes)
            if not query:
                await asyncio.sleep(0.2)
                continue
            notes.asked[query] = question
            async with asyncio.TaskGroup() as group:
                for name, client in (("first watcher", first), ("second watcher", second)):
                    group.create_task(_watch(client, notes.reading(name, query)))


async def _created(client: Client, question: str, notes: Notes) -> str:
    """Say the same again until it is answered: the request's id makes one query of it."""
    for _ in range(5):
        try:
            return (await client.create_query(question, request_id=question)).name
        except Failure as failure:
            refused = str(failure)[:80]
            await asyncio.sleep(0.5)
    notes.refused[refused] += 1
    return ""


async def _watch(client: Client, reading: Reading) -> None:
    began_s = time.monotonic()
    try:
        async with asyncio.timeout(_PATIENCE_S), aclosing(client.watch(reading.query)) as events:
            async for event in events:
                reading.events.append(QueryEvent.FromString(bytes(event)))
    except (Failure, TimeoutError) as error:
        reading.error = repr(error)
    reading.took_s = time.monotonic() - began_s


async def browses(world: World, notes: Notes, seed: int, until_s: float) -> None:
    """Does what a browser does: creates a query over HTTP, and follows its events with Last-Event-ID."""
    async with httpx.AsyncClient(base_url=f"http://{world.http}", timeout=httpx.Timeout(_SILENCE_S)) as http:
        while time.monotonic() < until_s:
            question = notes.question()
            query = ""
            for _ in range(5):
                with suppress(httpx.HTTPError, ValueError):
                    response = await http.post(f"/v1/queries?requestId={question}", json={"question": question})
                    if response.status_code == 200:
                        query = str(response.json()["name"])
                        break
                await asyncio.sleep(0.5)
            if not query:
                notes.refused["HTTP"] += 1
                continue
            notes.asked[query] = question
            reading, began_s = notes.reading("browser", query), time.monotonic()
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    await _follow(http, reading)
            except TimeoutError as error:
                reading.error = repr(error)
            reading.took_s = time.monotonic() - began_s


async def _follow(http: httpx.AsyncClient, reading: Reading) -> None:
    """Read to the last event, coming back as an EventSource does."""
    last_id = ""
    while True:
        headers = {"accept": "text/event-stream"} | ({"last-event-id": last_id} if last_id else {})
        try:
            async with http.stream("GET", f"/v1/{reading.query}:watch", headers=headers) as response:
                if response.status_code == 204:
                    return
                async with aclosing(_sse(response)) as events:
                    async for event_id, event in events:
                        last_id = event_id
                        reading.events.append(event)
                        if event.HasField("query_ended"):
                            return
        except httpx.HTTPError as error:
            reading.error = repr(error)
        await asyncio.sleep(_RETRY_S)


async def _sse(response: httpx.Response) -> AsyncGenerator[tuple[str, QueryEvent], None]:
    """The events of a stream with their ids, without heartbeats; ends where the stream does, or tells an error."""
    event_id, name, data = "", "", ""
    async for line in response.aiter_lines():
        word, _, value = line.partition(": ")
        match word:
            case "id":
                event_id = value
            case "event":
                name = value
            case "data":
                data = value
            case "":
                if name or (data and response.status_code != 200):
                    return
                if data and "heartbeat" not in json.loads(data):
                    yield event_id, json_format.Parse(data, QueryEvent())
                event_id, name, data = "", "", ""
