"""Measures of a ranking against what is relevant. Pure.

Definitions are those of trec_eval: nDCG takes the grade for its gain and log2(rank + 1) for its discount.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

RECALL_AT = (1, 2, 5, 10)
ALL_AT = (2, 5, 8)


def measures(ranked: Sequence[str], grades: Mapping[str, float]) -> dict[str, float]:
    """R@k, all@k, MRR@10 and nDCG@10 of ids, best first, each once; {} where nothing is relevant."""
    relevant = {one for one, grade in grades.items() if grade > 0}
    if not relevant:
        return {}
    return {
        **{f"R@{k}": len(relevant.intersection(ranked[:k])) / len(relevant) for k in RECALL_AT},
        **{f"all@{k}": float(relevant <= set(ranked[:k])) for k in ALL_AT},
        "MRR@10": next((1 / rank for rank, one in enumerate(ranked[:10], 1) if one in relevant), 0.0),
        "nDCG@10": _dcg([grades.get(one, 0.0) for one in ranked[:10]])
        / _dcg(sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:10]),
    }


def _dcg(gains: Sequence[float]) -> float:
    return sum(max(gain, 0.0) / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
