"""Carries a call from provider to provider until one answers, as `course` decides."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from answermesh.errors import Failure, Reason
from answermesh.llm.course import Candidate, Course, Health, Kind, Trouble
from answermesh.llm.endpoint import Completion, Endpoint
from answermesh.llm.ledger import Usage
from answermesh.llm.provider import Provider
from answermesh.rpc.deadline import bound_s, exceeded, fail_after

# Longest call without a deadline of its own.
MAX_CALL_S = 300.0

Sleep = Callable[[float], Awaitable[None]]


class Router:
    """All providers, and how they are doing. `sleep` is the clock's, but for tests."""

    def __init__(self, providers: Sequence[Provider], sleep: Sleep = asyncio.sleep) -> None:
        self._endpoints = {provider.name: Endpoint(provider) for provider in providers}
        self._health = {provider.name: Health() for provider in providers}
        self._sleep = sleep

    def candidates(self, task: str) -> list[Candidate]:
        """The models configured for a task, the preferred first."""
        providers = [endpoint.provider for endpoint in self._endpoints.values()]
        return [Candidate(p, model) for p in providers if task in p.tasks for model in p.models]

    async def stream(self, task: str, completion: Completion, usages: list[Usage]) -> AsyncGenerator[str, None]:
        """Pieces of one model's text. Enters into `usages` what was used, also of attempts that were left.

        A failure before the first piece is retried and carried elsewhere. A failure after it is the end: another
        model's text does not continue this one's, and a repetition would tell the reader the same twice. What came
        stays with the caller.
        Raises Failure(MODEL_UNAVAILABLE) or Failure(DEADLINE_EXCEEDED).
        """
        course = self._course(task)
        while True:
            candidate, timeout_s = await self._next(task, course)
            usage = Usage(candidate, completion.prompt, _now_s())
            pieces = self._endpoints[candidate.provider.name].stream(completion, usage, timeout_s)
            try:
                async with fail_after(MAX_CALL_S), aclosing(pieces):
                    async for piece in pieces:
                        yield piece
            except Trouble as trouble:
                self._failed(course, candidate, trouble)
                if usage.text:
                    _enter(usage, usages)
                    raise _broken_off(candidate) from trouble
                continue
            except (asyncio.CancelledError, GeneratorExit, Failure):
                _enter(usage, usages)  # it was working for us
                raise
            self._health[candidate.provider.name].succeeded()
            _enter(usage, usages)
            return

    async def embed(self, task: str, texts: Sequence[str], dimensions: int, usages: list[Usage]) -> list[list[float]]:
        """Vectors from the first provider that gives them. Raises like `stream`."""
        course = self._course(task)
        while True:
            candidate, timeout_s = await self._next(task, course)
            usage = Usage(candidate, "\n".join(texts), _now_s())
            endpoint = self._endpoints[candidate.provider.name]
            try:
                async with fail_after(MAX_CALL_S):
                    vectors = await endpoint.embed(texts, dimensions, usage, timeout_s)
            except Trouble as trouble:
                self._failed(course, candidate, trouble)
                continue
            self._health[candidate.provider.name].succeeded()
            _enter(usage, usages)
            return vectors

    async def aclose(self) -> None:
        """Close all connections."""
        for endpoint in self._endpoints.values():
            await endpoint.aclose()

    def _course(self, task: str) -> Course:
        # Jitter needs no secrecy.
        return Course(self.candidates(task), self._health, random.random)

    async def _next(self, task: str, course: Course) -> tuple[Candidate, float]:
        """Whom to ask now, and how long it may be silent."""
        chosen = course.next(_now_s())
        if chosen is None:
            raise self._nobody(task, course)
        candidate, wait_s = chosen
        left_s = bound_s(MAX_CALL_S)
        if wait_s:
            if wait_s >= left_s:
                raise self._nobody(task, course, wait_s)
            await self._sleep(wait_s)
            left_s -= wait_s
        if left_s <= 0:
            raise exceeded()
        self._health[candidate.provider.name].asked(_now_s())
        # Silence may use up half of the time that is left, so that somebody else still can answer.
        share_s = left_s / 2 if course.has_other() else left_s
        return candidate, min(candidate.provider.timeout_s, share_s)

    def _failed(self, course: Course, candidate: Candidate, trouble: Trouble) -> None:
        course.failed(candidate, trouble, _now_s())
        self._health[candidate.provider.name].failed(trouble, _now_s())

    def _nobody(self, task: str, course: Course, wait_s: float | None = None) -> Failure:
        if course.last is not None:
            candidate, trouble = course.last
            what = f"provider {candidate.provider.name!r} {trouble.kind.value}; the log says how"
            if wait_s is None and trouble.kind is Kind.RATE_LIMITED:
                wait_s = trouble.retry_after_s
        elif candidates := self.candidates(task):
            healths = [self._health[candidate.provider.name] for candidate in candidates]
            wait_s = max(0.0, min(health.ejected_until_s for health in healths) - _now_s())
            what = "its providers failed again and again and are left alone for a while"
        else:
            what = f"no provider is configured for it; add {task!r} to the tasks of one"
        message = f"No language model answers for {task!r}: {what}."
        return Failure(Reason.MODEL_UNAVAILABLE, message, retry_after_s=wait_s)


def _enter(usage: Usage, usages: list[Usage]) -> None:
    usage.ended_s = _now_s()
    usages.append(usage)


def _broken_off(candidate: Candidate) -> Failure:
    message = (
        f"Provider {candidate.provider.name!r} broke off in the middle of its text; what came before is all there is."
    )
    return Failure(Reason.MODEL_UNAVAILABLE, message)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
