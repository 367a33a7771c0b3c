"""When a process that died is started again: at once, then after ever longer waits."""

from __future__ import annotations

from dataclasses import dataclass

# A crash costs its callers the first wait; a process that cannot run costs one start, about a second of a processor,
# per last wait. That is short, since callers wait through it (client.patience, gRPC's reconnects within 2 s): whoever
# kills a service again and again shall not get it held down by us as well.
FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
# A process that lived as long is taken for healthy: its next death is a first one.
HEALTHY_AFTER_S = 20.0
# While the mesh starts, nobody waits for a process that dies again and again.
STARTS_BEFORE_READY = 3


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a process's deaths."""

    # Deaths in a row, none of them after a healthy life.
    deaths: int = 0
    # Whether it was ready once since the mesh was started.
    was_ready: bool = False


@dataclass(frozen=True, slots=True)
class Restart:
    """Start it again after a wait."""

    wait_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """It never became ready, and does not seem to."""

    deaths: int


def after_death(history: History, lived_s: float) -> tuple[History, Restart | GiveUp]:
    """What to do about a process that died `lived_s` seconds after it was started."""
    deaths = 1 if history.was_ready and lived_s >= HEALTHY_AFTER_S else history.deaths + 1
    known = History(deaths, history.was_ready)
    if not history.was_ready and deaths >= STARTS_BEFORE_READY:
        return known, GiveUp(deaths)
    # The exponent is bounded too: 2**deaths outgrows a float in the end.
    return known, Restart(min(FIRST_WAIT_S * 2 ** min(deaths - 1, 16), LONGEST_WAIT_S))


def after_ready(history: History) -> History:
    """A process became ready; only a healthy life forgives its deaths."""
    return History(history.deaths, was_ready=True)
