"""How long an address is left alone after failures."""

from __future__ import annotations

from answermesh.gateway.upstream.http2.options import Backoff


def pause_s(backoff: Backoff, failures: int, luck: float) -> float:
    """The pause after this many failures in a row (none after none); `luck` in 0..1 spreads it."""
    if failures == 0:
        return 0.0
    # Bounded before the power, which would overflow some day.
    grown = backoff.first_s * backoff.factor ** min(failures - 1, 64)
    return min(grown, backoff.most_s) * (1 + backoff.jitter * (2 * luck - 1))
