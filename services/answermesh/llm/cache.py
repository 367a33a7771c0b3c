"""Answers kept for identical deterministic calls, and calls under way that identical ones join (single flight)."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from answermesh.llm.endpoint import Completion
from answermesh.llm.flight import Flight
from answermesh.v1.query_pb2 import UsageRecord

MAX_ANSWERS = 256
# Characters of all answers kept together.
MAX_CHARS = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, and what it had cost."""

    text: str
    record: UsageRecord


class Cache:
    """Bounded by number and by size; the answer that was not used for longest goes first."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._flights: dict[str, Flight] = {}
        self._chars = 0

    def answer(self, key: str) -> Answer | None:
        """The kept answer, if there is one."""
        if key in self._answers:
            self._answers.move_to_end(key)
        return self._answers.get(key)

    def flight(self, key: str, start: Callable[[], Flight]) -> tuple[Flight, bool]:
        """The call under way for the key, or a new one; and whether it is new."""
        flight = self._flights.get(key)
        if flight is not None and not flight.is_over:
            return flight, False
        flight = self._flights[key] = start()
        return flight, True

    def landed(self, key: str, flight: Flight) -> None:
        """Forget a call that is over."""
        if self._flights.get(key) is flight and flight.is_over:
            del self._flights[key]

    def keep(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        self.forget(key)
        self._answers[key] = answer
        self._chars += len(answer.text)
        while len(self._answers) > MAX_ANSWERS or self._chars > MAX_CHARS:
            self.forget(next(iter(self._answers)))

    def forget(self, key: str) -> None:
        """Drop an answer that turned out to be of no use."""
        if (answer := self._answers.pop(key, None)) is not None:
            self._chars -= len(answer.text)


def key_of(tenant: str, task: str, completion: Completion) -> str:
    """The same for the same question of the same tenant only: nobody learns by its speed what another one asked."""
    asked = [tenant, task, completion.max_tokens, completion.temperature, completion.response_format]
    asked += [[message.role, message.content] for message in completion.messages]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()
