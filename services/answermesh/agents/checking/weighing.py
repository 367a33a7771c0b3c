"""From traits to calibrated probabilities: a logistic regression whose weights stand in `weights/claims.toml`. No I/O
after the first use.

`python -m bench.calibrate` fits them, on training splits alone; the file says on which, and what it measured.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from answermesh.agents.checking.traits import NAMES, Traits


@dataclass(frozen=True, slots=True)
class Odds:
    """Probabilities that sources support a claim, that they state the contrary, and that they do not settle it."""

    supported: float
    refuted: float
    unsettled: float


@dataclass(frozen=True, slots=True)
class Weights:
    """A fitted model: standardise each trait, add up, compare the three sums."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    # For each of supported, refuted and unsettled: the sum's start, and each trait's weight.
    bias: tuple[float, float, float]
    weights: tuple[tuple[float, ...], ...]

    def odds(self, traits: Traits) -> Odds:
        """The probabilities, which add up to 1."""
        row = [(x - mean) / scale for x, mean, scale in zip(traits.row(), self.mean, self.scale, strict=True)]
        sums = [
            bias + sum(weight * x for weight, x in zip(weights, row, strict=True))
            for bias, weights in zip(self.bias, self.weights, strict=True)
        ]
        highest = max(sums)
        raised = [math.exp(one - highest) for one in sums]
        supported, refuted, unsettled = (one / sum(raised) for one in raised)
        return Odds(supported, refuted, unsettled)


@cache
def weights() -> Weights:
    """The weights that answermesh ships."""
    table = tomllib.loads((files("answermesh.agents") / "weights" / "claims.toml").read_text(encoding="utf-8"))
    rows = {row["trait"]: row for row in table["traits"]}
    assert set(rows) == set(NAMES), "weights/claims.toml was fitted on other traits; run `make calibrate`"
    ordered = [rows[name] for name in NAMES]
    classes = ("supported", "refuted", "unsettled")
    return Weights(
        mean=tuple(row["mean"] for row in ordered),
        scale=tuple(row["scale"] for row in ordered),
        bias=(table["bias"]["supported"], table["bias"]["refuted"], table["bias"]["unsettled"]),
        weights=tuple(tuple(row[one] for row in ordered) for one in classes),
    )
