"""Checking a claim: what words decide, what is weighed, and what no weight can turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from answermesh.agents.checking.check import VETOED, check
from answermesh.agents.checking.traits import NAMES
from answermesh.agents.checking.weighing import weights
from answermesh.agents.scoring import Reading
from answermesh.agents.sources import Sources
from answermesh.evaluation.alterations import alterations
from answermesh.v1.finding_pb2 import Verdict
from tests.fake_run import WordScorer, passage

TEXT = "The bridge was opened in 1932. It carries eight lanes of traffic. Sydney is proud of it."


class Enthusiast(WordScorer):
    """Models that find everything to say the same."""

    async def score(self, query: str, texts: Sequence[str]) -> list[float]:
        return [11.0] * len(texts)

    async def vectors(self, texts: Sequence[str]) -> list[Sequence[float]]:
        return [[1.0, 0.0]] * len(texts)

    async def read(self, question: str, texts: Sequence[str]) -> list[Reading]:
        return [Reading(11.0, 0, len(text)) for text in texts]


def sources(*texts: str) -> Sources:
    found = Sources()
    for index, text in enumerate(texts):
        found.add(passage(text, name=f"p{index}"))
    return found


async def test_a_repeated_sentence_is_supported_without_a_model() -> None:
    scorer = WordScorer()
    checked = await check("It carries eight lanes of traffic.", sources(TEXT), scorer)
    assert checked.value == Verdict.VALUE_SUPPORTED
    assert checked.odds.supported == 1.0
    assert scorer.calls == []


@pytest.mark.parametrize(
    "claim",
    [
        "The bridge was opened in 1931.",
        "Traffic has crossed the bridge since it was opened in 1931.",
        "It carries six lanes of traffic.",
        "In 1932 the bridge was opened by Melbourne.",
    ],
)
async def test_an_altered_number_or_name_is_never_supported_whatever_the_models_say(claim: str) -> None:
    checked = await check(claim, sources(TEXT), Enthusiast())
    assert checked.value != Verdict.VALUE_SUPPORTED
    assert checked.odds.supported <= VETOED


async def test_a_claim_in_other_words_is_weighed_and_its_probabilities_add_up() -> None:
    checked = await check("Eight lanes run over the bridge.", sources(TEXT), WordScorer())
    odds = checked.odds
    assert math.isclose(odds.supported + odds.refuted + odds.unsettled, 1.0)
    verdict = checked.verdict(3)
    assert verdict.sentence_index == verdict.evidence.sentence_index == 3
    assert (verdict.supported_probability, verdict.refuted_probability) == (odds.supported, odds.refuted)
    assert TEXT[verdict.evidence.span.start : verdict.evidence.span.end] == verdict.evidence.text


async def test_without_a_source_nothing_is_settled() -> None:
    checked = await check("The bridge is red.", Sources(), WordScorer())
    assert checked.value == Verdict.VALUE_NOT_ENOUGH_EVIDENCE
    assert not checked.verdict(0).HasField("evidence")


def test_the_weights_are_those_of_the_traits() -> None:
    shipped = weights()
    assert len(shipped.mean) == len(shipped.scale) == len(NAMES)
    assert all(len(row) == len(NAMES) for row in shipped.weights)
    assert min(shipped.scale) > 0


async def test_hardly_an_altered_sentence_of_real_documents_passes_even_models_that_like_everything() -> None:
    folder = Path(__file__).parents[2] / "examples" / "documents"
    texts = [part for path in sorted(folder.rglob("*.md")) for part in path.read_text("utf-8").split("\n## ")]
    made = alterations(texts, 70)
    assert len(made) == 70
    passed = []
    for one in made:
        checked = await check(one.altered, sources(one.text), Enthusiast())
        if checked.value == Verdict.VALUE_SUPPORTED:
            passed.append((one.sentence, one.altered))
    assert len(passed) <= 3, passed
