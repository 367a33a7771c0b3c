"""How far a figure may be trusted: bootstrap intervals, and a paired test of two runs. Pure; the same input, the same
result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

_T = TypeVar("_T")

RESAMPLES = 1000
# For figures that are no means, each costs a pass over all records.
POOLED_RESAMPLES = 200
PERMUTATIONS = 10_000
_SEED = 20_240_229
# Random numbers made at once.
_CHUNK = 1 << 22


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int


def mean_of(values: Sequence[float]) -> Estimate:
    """The mean of one value or more, with the percentile bootstrap's interval (Efron 1979)."""
    taken = np.asarray(values, dtype=float)
    rng = np.random.default_rng(_SEED)
    rows = max(1, _CHUNK // len(taken))
    means: list[float] = []
    while len(means) < RESAMPLES:
        picked = rng.integers(0, len(taken), (min(rows, RESAMPLES - len(means)), len(taken)))
        means.extend(taken[picked].mean(axis=1))
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(taken.mean()), float(low), float(high), len(taken))


def pooled_of(records: Sequence[_T], figures: Callable[[Sequence[_T]], dict[str, float]]) -> dict[str, Estimate]:
    """Figures that need all records at once, with the interval over resampled records."""
    values = figures(records)
    if not values:
        return {}
    rng = np.random.default_rng(_SEED)
    drawn: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(POOLED_RESAMPLES):
        again = figures([records[index] for index in rng.integers(0, len(records), len(records))])
        for name, value in again.items():
            drawn.setdefault(name, []).append(value)
    estimates = {}
    for name, value in values.items():
        low, high = np.percentile(drawn[name], [2.5, 97.5]) if drawn[name] else (value, value)
        estimates[name] = Estimate(value, float(low), float(high), len(records))
    return estimates


@dataclass(frozen=True, slots=True)
class Difference:
    """Second minus first, over the items of both; `p` of the two-sided paired permutation test."""

    mean: Estimate
    p: float


def difference(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare two runs item by item (Fisher's randomisation: the sign of each difference is a coin's)."""
    deltas = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    rng = np.random.default_rng(_SEED)
    observed = abs(deltas.sum())
    rows = max(1, _CHUNK // len(deltas))
    reached = done = 0
    while done < PERMUTATIONS:
        count = min(rows, PERMUTATIONS - done)
        signs = rng.integers(0, 2, (count, len(deltas)), dtype=np.int8) * 2 - 1
        # Sums of the same values in another order differ in their last digits.
        reached += int((np.abs(signs @ deltas) >= observed - 1e-9).sum())
        done += count
    return Difference(mean_of(deltas), (reached + 1) / (PERMUTATIONS + 1))


def area_under_curve(scored: Sequence[tuple[bool, float]]) -> float:
    """How often a positive scores above a negative, ties counting half (the area under the ROC curve); 0.5 is chance.

    There must be some of both.
    """
    truths = np.asarray([truth for truth, _ in scored])
    _, place, counts = np.unique([score for _, score in scored], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    positives = int(truths.sum())
    return float((ranks[truths].sum() - positives * (positives + 1) / 2) / (positives * (len(scored) - positives)))
