"""Which provider is tried next, and when: health, retries and fallback as decisions, without I/O or clock.

A call tries each (provider, model) of its task at most three times. What failed before any text came is tried elsewhere
at once, and again after a back-off when nobody else is left. A provider that fails three times running, in whatever
calls, is ejected: nobody asks it for 5 s, then one call probes it, and each further failure doubles the time, up to a
minute.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from answermesh.llm.provider import Provider

# Three attempts in all: more only deepen an overload (Google SRE book, "Handling overload").
MAX_ATTEMPTS = 3
_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 8.0
# A server that wants a longer pause than a query lives is not waited for.
_MAX_RETRY_AFTER_S = 60.0
_FAILURES_TO_EJECT = 3
_EJECTION_S = 5.0
_MAX_EJECTION_S = 60.0
# How long others keep away while one call probes.
_PROBE_S = 10.0


class Kind(enum.Enum):
    """What a failed attempt says about its provider."""

    # 429: well, but full. Asked again after its Retry-After.
    RATE_LIMITED = "is rate limited"
    # 5xx, a broken or refused connection, silence, nonsense. Asked again, and counted against its health.
    BROKEN = "fails"
    # 401, 403, 404: misconfigured. Not asked again, and counted against its health.
    REFUSED = "refuses our key or model"
    # 400, 413, 422: does not take this request. Not asked again; its health is good.
    UNSUITED = "does not take this request"


class Trouble(Exception):
    """An attempt that failed."""

    def __init__(self, kind: Kind, retry_after_s: float | None = None) -> None:
        super().__init__(kind.value)
        self.kind = kind
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of a provider."""

    provider: Provider
    model: str


@dataclass(slots=True)
class Health:
    """How a provider has been doing, over all calls of this process. Instants are seconds of one clock."""

    failures: int = 0
    ejections: int = 0
    ejected_until_s: float = 0.0
    limited_until_s: float = 0.0

    def is_ejected(self, now_s: float) -> bool:
        """True while nobody should ask it."""
        return now_s < self.ejected_until_s

    def asked(self, now_s: float) -> None:
        """A call goes there; the first one after an ejection is the probe, and others wait for what it finds."""
        if self.failures >= _FAILURES_TO_EJECT:
            self.ejected_until_s = now_s + _PROBE_S

    def succeeded(self) -> None:
        """It answered."""
        self.failures = self.ejections = 0
        self.ejected_until_s = self.limited_until_s = 0.0

    def failed(self, trouble: Trouble, now_s: float) -> None:
        """It did not answer."""
        if trouble.kind is Kind.RATE_LIMITED:
            self.limited_until_s = max(self.limited_until_s, now_s + (trouble.retry_after_s or 0.0))
        if trouble.kind not in (Kind.BROKEN, Kind.REFUSED):
            self.ejected_until_s = 0.0  # a probe that got an answer of any kind
            return
        self.failures += 1
        if self.failures >= _FAILURES_TO_EJECT:
            self.ejected_until_s = now_s + min(_EJECTION_S * 2.0**self.ejections, _MAX_EJECTION_S)
            self.ejections += 1


class Course:
    """The attempts of one call. `jitter` returns 0 to 1."""

    def __init__(
        self, candidates: Sequence[Candidate], health: Mapping[str, Health], jitter: Callable[[], float]
    ) -> None:
        self._health = health
        self._jitter = jitter
        self._attempts = dict.fromkeys(candidates, 0)
        self._not_before_s = dict.fromkeys(candidates, 0.0)
        # How the call ends if nobody is left.
        self.last: tuple[Candidate, Trouble] | None = None

    def next(self, now_s: float) -> tuple[Candidate, float] | None:
        """The next to try and how long to wait first; None if nobody is left. Ejected providers are passed over."""
        open_ = [c for c in self._attempts if not self._health[c.provider.name].is_ejected(now_s)]
        if not open_:
            return None
        chosen = min(open_, key=lambda c: max(now_s, self._ready_s(c)))  # of equals, the first in the file's order
        return chosen, max(0.0, self._ready_s(chosen) - now_s)

    def has_other(self) -> bool:
        """True if somebody else than the next could still be asked."""
        return len(self._attempts) > 1

    def failed(self, candidate: Candidate, trouble: Trouble, now_s: float) -> None:
        """An attempt failed; decides whether and when it is repeated."""
        self.last = (candidate, trouble)
        attempts = self._attempts[candidate] = self._attempts[candidate] + 1
        repeatable = trouble.kind in (Kind.RATE_LIMITED, Kind.BROKEN)
        wait_s = trouble.retry_after_s
        if wait_s is None:
            # Between half and all of it, so that callers who failed together do not come back together.
            wait_s = min(_BACKOFF_S * 2.0 ** (attempts - 1), _MAX_BACKOFF_S) * (0.5 + self._jitter() / 2)
        if not repeatable or attempts >= MAX_ATTEMPTS or wait_s > _MAX_RETRY_AFTER_S:
            del self._attempts[candidate]
        else:
            self._not_before_s[candidate] = now_s + wait_s

    def _ready_s(self, candidate: Candidate) -> float:
        return max(self._not_before_s[candidate], self._health[candidate.provider.name].limited_until_s)
