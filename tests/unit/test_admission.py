"""What is admitted, held against simulated agents: a few that work at once, the rest queue before them."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest

from answermesh.orchestrator.admission import FIRST, FORGOTTEN_S, LEAST, SHARES, Admission
from answermesh.orchestrator.lobby import MOST_WAITING, Caller, Lobby
from answermesh.v1.query_pb2 import Query

INTERACTIVE = Query.PRIORITY_INTERACTIVE


@dataclass
class Simulated:
    """Agents that take `service_s` for a query, `workers` at once; queries are cut off at their deadline."""

    workers: int
    service_s: Callable[[float], float]
    deadline_s: float
    admission: Admission = field(default_factory=lambda: Admission(0.0))
    lobby: Lobby = field(init=False)
    now_s: float = 0.0
    good: int = 0
    late: int = 0
    refused: int = 0
    took_s: list[float] = field(default_factory=list)
    _free: int = 0
    _lobby: list[tuple[float, Caller]] = field(default_factory=list)
    _queue: deque[float] = field(default_factory=deque)
    _ends: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._free = self.workers
        self.lobby = Lobby(self.admission)

    def offer(self, per_s: float, seconds: float) -> None:
        """Ask so many per second for some time; counts begin anew."""
        self.good = self.late = self.refused = 0
        self.took_s.clear()
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            next_s = self.now_s + 1 / per_s
            while self._ends and self._ends[0][0] <= next_s:
                self._end()
            self.now_s = next_s
            while self._queue and self.now_s - self._queue[0] >= self.deadline_s:
                self._over(self._queue.popleft(), self.now_s)
            self._give_up()
            caller = Caller("t", INTERACTIVE, self.deadline_s, partial(self._queue.append, self.now_s))
            if wait_s := self.lobby.enter(caller, self.now_s):
                self._lobby.append((self.now_s + wait_s, caller))
            self.refused += not (caller.is_in or wait_s)
            self._start()

    def _give_up(self) -> None:
        """Those who waited enough are refused."""
        for until_s, caller in self._lobby:
            if not caller.is_in and until_s <= self.now_s:
                self.lobby.leave(caller, self.now_s)
                self.refused += 1
        self._lobby = [(until_s, one) for until_s, one in self._lobby if not one.is_in and until_s > self.now_s]

    def _start(self) -> None:
        while self._free and self._queue:
            asked_s = self._queue.popleft()
            self._free -= 1
            heapq.heappush(self._ends, (self.now_s + self.service_s(self.now_s), asked_s))

    def _end(self) -> None:
        self.now_s, asked_s = heapq.heappop(self._ends)
        self._free += 1
        self._over(asked_s, self.now_s)
        self._start()

    def _over(self, asked_s: float, at_s: float) -> None:
        took_s = min(at_s - asked_s, self.deadline_s)
        self.took_s.append(took_s)
        self.admission.over("t", took_s, at_s, late=at_s - asked_s >= self.deadline_s)
        self.lobby.call(at_s)
        if at_s - asked_s < self.deadline_s:
            self.good += 1
        else:
            self.late += 1


@pytest.mark.parametrize(
    ("workers", "service_s", "deadline_s"), [(8, 0.1, 2.0), (64, 0.05, 2.0), (4, 1.0, 10.0), (10, 8.0, 30.0)]
)
def test_ten_times_too_much_is_answered_at_the_peak_rate_and_in_time(
    workers: int, service_s: float, deadline_s: float
) -> None:
    mesh = Simulated(workers, lambda _: service_s, deadline_s)
    peak_per_s = workers / service_s
    mesh.offer(0.5 * peak_per_s, 20 * deadline_s)
    # How much is too much, agents of unknown strength show by the first answers.
    mesh.offer(10 * peak_per_s, 2 * deadline_s)
    assert mesh.late <= FIRST
    mesh.offer(10 * peak_per_s, 10 * deadline_s)
    goodput_per_s = mesh.good / (10 * deadline_s)

    assert goodput_per_s >= 0.9 * peak_per_s
    assert mesh.late <= 0.01 * (mesh.good + mesh.late)
    assert mesh.refused > 0


def test_agents_that_get_ten_times_slower_are_given_less_and_more_again_when_they_recover() -> None:
    mesh = Simulated(32, lambda now_s: 1.0 if 60 <= now_s < 120 else 0.1, 5.0)
    mesh.offer(300, 60)
    before = mesh.good
    mesh.offer(300, 20)
    mesh.offer(300, 40)
    slow, late = mesh.good, mesh.late
    mesh.offer(300, 10)
    mesh.offer(300, 50)

    assert before >= 60 * 290
    assert slow >= 0.9 * 32 * 40
    assert late <= 0.05 * slow
    assert mesh.good >= 50 * 290


def test_all_are_let_in_as_long_as_they_are_soon_done() -> None:
    mesh = Simulated(10_000, lambda _: 0.05, 30.0)
    for in_flight in (16, 64, 256):
        mesh.offer(in_flight / 0.05, 3)
        assert mesh.refused == 0


def test_a_first_burst_of_many_waits_for_a_measure_instead_of_being_refused() -> None:
    mesh = Simulated(10_000, lambda _: 0.1, 30.0)
    mesh.offer(256 / 0.1, 0.1)
    refused = mesh.refused
    mesh.offer(1, 3)
    assert (refused, mesh.refused, mesh.late) == (0, 0, 0)
    assert mesh.good >= 256 - FIRST


def test_nobody_waits_once_it_is_known_how_much_room_there_is() -> None:
    mesh = Simulated(8, lambda _: 0.1, 2.0)
    mesh.offer(800, 5)
    callers = [Caller("t", INTERACTIVE, 2.0, lambda: None) for _ in range(1000)]
    assert {mesh.lobby.enter(caller, mesh.now_s) for caller in callers} == {0.0}


def test_who_matters_more_is_called_first_and_then_who_was_there_first() -> None:
    lobby, called = Lobby(Admission(0.0)), list[str]()
    first = [Caller("t", Query.PRIORITY_CRITICAL, 30.0, lambda: None) for _ in range(FIRST)]
    for caller in first:
        lobby.enter(caller, 0.0)
    asked = (("batch", Query.PRIORITY_BATCH), ("one", INTERACTIVE), ("two", INTERACTIVE), ("key", first[0].priority))
    for name, priority in asked:
        assert lobby.enter(Caller("t", priority, 30.0, partial(called.append, name)), 0.0) > 0
    for caller in first:
        lobby.leave(caller, 0.1)
    assert called == ["key", "one", "two", "batch"]


def test_who_hung_up_while_waiting_takes_no_room() -> None:
    lobby = Lobby(admission := Admission(0.0))
    first = [Caller("t", Query.PRIORITY_CRITICAL, 30.0, lambda: None) for _ in range(FIRST)]
    for caller in first:
        lobby.enter(caller, 0.0)
    gone = Caller("t", INTERACTIVE, 30.0, lambda: None)
    lobby.enter(gone, 0.0)
    lobby.leave(gone, 0.1)
    for caller in first:
        lobby.leave(caller, 0.2)
    assert not gone.is_in
    assert admission.room("t", Query.PRIORITY_CRITICAL, 30.0, 0.2) == FIRST


def test_only_so_many_wait() -> None:
    lobby = Lobby(Admission(0.0))
    waits = [lobby.enter(Caller("t", INTERACTIVE, 30.0, lambda: None), 0.0) for _ in range(2 * MOST_WAITING)]
    assert sum(wait_s > 0 for wait_s in waits) == MOST_WAITING


def test_a_few_that_are_slow_for_a_while_say_nothing_of_how_many_could_be_answered() -> None:
    mesh = Simulated(1000, lambda now_s: 0.05 if now_s < 20 else 0.25, 30.0)
    mesh.offer(4, 60)
    assert mesh.admission.limit(30.0) == FIRST


def test_a_burst_after_a_quiet_time_is_not_measured_by_the_quiet_time() -> None:
    mesh = Simulated(1000, lambda _: 0.05, 10.0)
    for _ in range(5):
        mesh.offer(1, 7.7)
        mesh.offer(64 / 0.05, 1)
        assert mesh.refused == 0


def test_answers_that_take_long_by_themselves_are_not_taken_for_an_overload() -> None:
    mesh = Simulated(1000, lambda _: 18.0, 30.0)
    mesh.offer(2.0, 600)
    assert mesh.refused == 0


def test_each_priority_leaves_room_for_those_above_it() -> None:
    admission = Admission(0.0)
    for priority in (Query.PRIORITY_BATCH, INTERACTIVE, Query.PRIORITY_CRITICAL):
        while admission.room("t", priority, 30, 0.0) > 0:
            admission.begun("t", 30, 0.0)
        assert admission.room("t", priority, 30, 0.0) == 0
        left = FIRST - int(FIRST * SHARES[priority])
        assert admission.room("t", Query.PRIORITY_CRITICAL, 30, 0.0) == left


def test_a_tenant_gets_no_more_than_its_part_while_another_is_there() -> None:
    admission = Admission(0.0)
    admission.begun("a", 30, 0.0)
    while admission.room("b", INTERACTIVE, 30, 0.0) > 0:
        admission.begun("b", 30, 0.0)
    assert admission.room("a", INTERACTIVE, 30, 0.0) > 0


def test_what_was_measured_never_falls_below_the_least_and_is_forgotten_after_a_quiet_time() -> None:
    mesh = Simulated(1, lambda _: 29.0, 30.0)
    mesh.offer(5, 300)
    assert mesh.admission.limit(30.0) == LEAST
    mesh.offer(0.001, 2 * FORGOTTEN_S + 2000)
    assert mesh.admission.limit(30.0) == 2 * LEAST


def test_who_is_refused_is_told_to_come_when_about_as_many_have_ended() -> None:
    admission = Admission(0.0)
    assert admission.retry_after_s() == 1.0
    for _ in range(10):
        admission.begun("t", 30, 0.0)
        admission.over("t", 0.4, 0.4)
    assert admission.retry_after_s() == 0.4
