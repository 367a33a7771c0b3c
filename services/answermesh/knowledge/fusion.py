"""How candidates of two searches become one ranking: fused, some read again, the same words not told twice. Pure.

Figures are those of docs/evaluation.md, over five public sets: questions by one and by several documents, news, chats,
scientific claims.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# What a cosine of 1 is worth in points of BM25. Unlike ranks, the sums keep by how much a passage is better; and since
# a short query can earn few points by its words, its meaning decides more. Within a point of the best from 50 to 100.
COSINE_POINTS = 70.0
# The cross-encoder reads only what could still come first: those within so many points of the best, and no more than
# so many pairs, each of which costs some 15 ms of a core. This gives 1 to 2 in the mean, where 10 points and 10 pairs
# give 2 to 3: the first is right for two of 300 questions of SQuAD fewer, and nothing is lost among the first five.
NEAR_POINTS = 8.0
MAX_RERANKED = 6
# What a logit of it is worth, and the logit below which "does not answer by itself" says nothing more: a passage that
# only one half of a question is about is rightly far below 0, and still wanted.
LOGIT_POINTS = 3.0
MIN_LOGIT = -6.0
# Share of the points for words that is lost where passages further up have those words. A question about two things
# gets passages on both (all passages of a two-step question among the first five: .84 of 100 questions over .78).
REPEATED_SHARE = 0.5
# Ranks that are chosen so; below, nobody reads that closely.
SPREAD_RANKS = 20

# A question in two steps ("Where was the composer of X born?") is answered where a good passage leads to: to what its
# names are about. So many of the best passages are followed, each the more the nearer it is to the best, and what they
# lead to gets up to so many points (all passages among the first eight: .92 of 51 such questions over .53), but is
# never put before the passage that leads there, so that other questions lose nothing.
SEEDS = 3
SEED_RANGE_POINTS = 25.0
LINK_POINTS = 12.0

_QUESTION = re.compile(
    r"\s*(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|am|can|could|do|does|did|has|have|had|may|must|should|"
    r"will|would|explain|describe|tell|list|name|compare|give)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that one search or both have found."""

    passage_id: int
    # What each word of the query adds to its BM25 score.
    words: Mapping[str, float] = field(default_factory=dict)
    # Cosine of its vector and the query's; None where there is none to compare.
    similarity: float | None = None

    @property
    def lexical(self) -> float:
        """BM25 score."""
        return sum(self.words.values())


def fuse(candidates: Sequence[Candidate]) -> list[tuple[Candidate, float]]:
    """Candidates with their points, best first. What scores alike is ordered by id."""
    # Without a vector a passage is taken for as near as the least near: neither punished for it nor preferred.
    least = min((one.similarity for one in candidates if one.similarity is not None), default=0.0)
    points = [one.lexical + COSINE_POINTS * (least if one.similarity is None else one.similarity) for one in candidates]
    return sorted(zip(candidates, points, strict=True), key=lambda pair: (-pair[1], pair[0].passage_id))


def contenders(points: Sequence[float]) -> int:
    """How many of the best the cross-encoder is to read: 0 where none is near enough to the first to take its place."""
    near = sum(one >= points[0] - NEAR_POINTS for one in points[:MAX_RERANKED]) if points else 0
    return near if near > 1 else 0


def reranked(points: float, logit: float | None) -> float:
    """The points of a passage with the cross-encoder's judgement; None for what it has not read."""
    return points + LOGIT_POINTS * max(MIN_LOGIT if logit is None else logit, MIN_LOGIT)


@dataclass(frozen=True, slots=True)
class Link:
    """That one passage leads to another, by their ids; `strength` from 0 to 1."""

    seed: int
    passage_id: int
    strength: float


def seeds(fused: Mapping[int, float], ranked: Sequence[int]) -> dict[int, float]:
    """Of ranked passages those to follow, with how much, 0 to 1: by their points before reranking."""
    best = max(fused.values(), default=0.0)
    near = {one: 1 - (best - fused[one]) / SEED_RANGE_POINTS for one in ranked[:SEEDS]}
    return {one: weight for one, weight in near.items() if weight > 0}


def followed(points: Mapping[int, float], weights: Mapping[int, float], links: Sequence[Link]) -> dict[int, float]:
    """The points of all passages, with what links add to them."""
    raised = dict(points)
    for link in links:
        own = points[link.passage_id]
        led = min(own + LINK_POINTS * weights[link.seed] * link.strength, points[link.seed] - 0.01)
        raised[link.passage_id] = max(raised[link.passage_id], led)
    return raised


def spread(candidates: Sequence[Candidate], points: Sequence[float], count: int = SPREAD_RANKS) -> list[int]:
    """Positions of the candidates in the order in which they are shown: the first `count` by points, less those for
    words that passages before have already brought, the rest by points."""
    terms = {term: number for number, term in enumerate(dict.fromkeys(t for one in candidates for t in one.words))}
    words: NDArray[np.float64] = np.zeros((len(candidates), len(terms)))
    for row, one in enumerate(candidates):
        for term, value in one.words.items():
            words[row, terms[term]] = value
    left = np.array(points, dtype=float)
    brought = np.zeros(len(terms))
    order: list[int] = []
    for _ in range(min(count, len(candidates))):
        best = int(np.argmax(left - REPEATED_SHARE * np.minimum(words, brought).sum(axis=1)))
        order.append(best)
        left[best] = -np.inf
        brought = np.maximum(brought, words[best])
    chosen = set(order)
    return order + sorted((row for row in range(len(candidates)) if row not in chosen), key=lambda row: -points[row])


def is_question(query: str) -> bool:
    """Whether a query reads like a question rather than bare keywords: the reranker was trained on questions, and
    helps them (5 to 7 points of R@1 measured) but not keywords."""
    return query.rstrip().endswith("?") or bool(_QUESTION.match(query)) or len(query.split()) >= 8
