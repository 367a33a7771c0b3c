"""LanguageModels: what agents ask. A stream of text, or a value that fits a schema; the ledger gets what it cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import jsonschema

from answermesh.config import Settings
from answermesh.errors import Failure, Reason, invalid_field
from answermesh.llm import structured
from answermesh.llm.cache import Answer, Cache, key_of
from answermesh.llm.endpoint import Completion
from answermesh.llm.flight import Flight
from answermesh.llm.ledger import Ledger, Usage, from_cache
from answermesh.llm.provider import TASKS, Message, Provider, parse_providers
from answermesh.llm.router import MAX_CALL_S, Router
from answermesh.rpc.deadline import fail_after
from answermesh.rpc.tenancy import current_tenant


class LanguageModels:
    """All configured language models of a process."""

    def __init__(self, providers: Sequence[Provider], router: Router | None = None) -> None:
        self._router = router or Router(providers)
        self._cache = Cache()
        self._flights: set[Flight] = set()

    @classmethod
    def from_settings(cls, settings: Settings) -> LanguageModels | None:
        """The models of the settings; None if no provider serves a task beside embedding: then there is none.

        Raises Failure(INVALID_FIELD) naming the field of a provider that is not right.
        """
        providers = parse_providers(settings.providers)
        return cls(providers) if any(set(provider.tasks) - {"embedding"} for provider in providers) else None

    def model(self, task: str) -> str:
        """The preferred model of a task; empty if no provider is configured for it."""
        candidates = self._router.candidates(task)
        return candidates[0].model if candidates else ""

    @asynccontextmanager
    async def complete(
        self, task: str, messages: Sequence[Message], *, max_tokens: int, ledger: Ledger, temperature: float = 0.0
    ) -> AsyncGenerator[AsyncIterator[str], None]:
        """The pieces of an answer as they come: `async with llm.complete(…) as pieces: async for piece in pieces: …`.

        Leaving the block ends the call and closes its connection, unless somebody else asked the same and still reads.
        Reading raises Failure(MODEL_UNAVAILABLE) if no provider answers or one breaks off within its text, which
        is never begun again: what came is all there is. It raises Failure(DEADLINE_EXCEEDED) at the call's deadline.
        """
        completion = Completion(tuple(messages), max_tokens, temperature)
        async with self._reading(task, completion, ledger) as pieces:
            yield pieces

    async def complete_json(
        self, task: str, messages: Sequence[Message], schema: Mapping[str, Any], *, max_tokens: int, ledger: Ledger
    ) -> Any:
        """A value that fits the JSON schema; an answer that does not is asked for once more, with what is wrong.

        Raises Failure(MODEL_UNAVAILABLE) if no provider gives one, or if it does not fit into `max_tokens`: bound the
        schema's strings and lists. Raises Failure(DEADLINE_EXCEEDED) at the deadline. Cancelling closes the connection.
        """
        jsonschema.Draft202012Validator.check_schema(schema)
        asked = tuple(messages)
        for _ in range(2):
            completion = Completion(asked, max_tokens, 0.0, structured.response_format(task, schema))
            async with self._reading(task, completion, ledger) as pieces:
                text = "".join([piece async for piece in pieces])
            try:
                return structured.parse(text, schema)
            except structured.Misfit as misfit:
                self._cache.forget(key_of(current_tenant(), task, completion))
                asked += tuple(structured.repair(text, misfit))
        message = f"The language model gave no answer for {task!r} that fits its schema, not even when asked again."
        raise Failure(Reason.MODEL_UNAVAILABLE, message)

    async def aclose(self) -> None:
        """End all calls and close all connections."""
        for flight in tuple(self._flights):
            await flight.stop()
        await self._router.aclose()

    @asynccontextmanager
    async def _reading(
        self, task: str, completion: Completion, ledger: Ledger
    ) -> AsyncGenerator[AsyncIterator[str], None]:
        if task not in TASKS:
            raise invalid_field("task", f"{task!r} is unknown; known are {', '.join(TASKS)}.")
        reading = _Reading(self, task, completion, ledger)
        async with fail_after(MAX_CALL_S):
            try:
                yield reading.pieces()
            finally:
                await reading.end()

    def _start(self, task: str, completion: Completion) -> Flight:
        def source(usages: list[Usage]) -> AsyncGenerator[str, None]:
            return self._router.stream(task, completion, usages)

        flight = Flight(source)
        self._flights.add(flight)
        return flight


class _Reading:
    """One reader of one answer: from the cache, from a call that somebody began, or from a call of its own."""

    def __init__(self, models: LanguageModels, task: str, completion: Completion, ledger: Ledger) -> None:
        self._models = models
        self._task = task
        self._completion = completion
        self._ledger = ledger
        self._key = key_of(current_tenant(), task, completion)
        self._flight: Flight | None = None

    async def pieces(self) -> AsyncIterator[str]:
        """The text's pieces."""
        is_deterministic = self._completion.temperature == 0
        if is_deterministic and (answer := self._models._cache.answer(self._key)) is not None:
            self._ledger.record(from_cache(answer.record))
            yield answer.text
            return
        while True:
            is_own = self._board(is_deterministic)
            assert self._flight is not None
            began = False
            try:
                async for piece in self._flight.read():
                    began = True
                    yield piece
            except Failure:
                # Another one's call may fail at its own, earlier deadline; that is not ours.
                if is_own or began:
                    raise
                await self.end()
                continue
            self._check_whole()
            return

    async def end(self) -> None:
        """Leave the call, and enter into the ledger what it cost."""
        if self._flight is None:
            return
        flight, self._flight = self._flight, None
        try:
            await flight.leave()
        finally:
            self._models._cache.landed(self._key, flight)
            if flight.is_over:
                self._models._flights.discard(flight)
            for record in flight.bill():
                self._ledger.record(record)

    def _board(self, is_deterministic: bool) -> bool:
        def start() -> Flight:
            return self._models._start(self._task, self._completion)

        if is_deterministic:
            self._flight, is_own = self._models._cache.flight(self._key, start)
        else:
            self._flight, is_own = start(), True
        self._flight.join()
        return is_own

    def _check_whole(self) -> None:
        """A text that ended by itself is kept; JSON that was cut is of no use."""
        flight = self._flight
        assert flight is not None
        if flight.finish_reason == "stop" and self._completion.temperature == 0:
            self._models._cache.keep(self._key, Answer(flight.text, flight.last_record()))
        if flight.finish_reason != "stop" and self._completion.response_format is not None:
            message = (
                f"The language model's answer for {self._task!r} did not fit into {self._completion.max_tokens} tokens."
            )
            raise Failure(Reason.MODEL_UNAVAILABLE, message)
