"""Reading: which passages are read, which sentence holds the answer, the short answer, and when to say no."""

from __future__ import annotations

import numpy as np
import pytest

from answermesh.agents.authoring.extractive import Scored
from answermesh.agents.authoring.reading import PASSAGES, lifted, short_answer, to_read
from answermesh.agents.scoring import Reading
from answermesh.agents.synthesis import Synthesis
from answermesh.models.reader import MAX_PIECE_TOKENS, best_piece
from answermesh.v1.finding_pb2 import Conclusion
from tests.fake_run import FakeRun, WordScorer, passage, sources_of

TOWER = "The Eiffel Tower was built by Gustave Eiffel in Paris between 1887 and 31 March 1889."


def test_the_best_piece_is_the_pair_of_ends_with_the_highest_sum_that_is_in_order_and_not_too_long() -> None:
    tokens = np.full((40, 2), -9.0, dtype=np.float32)
    tokens[5, 0], tokens[7, 1] = 4.0, 3.0
    # An end before its start, and one too far behind it.
    tokens[2, 1] = tokens[5 + MAX_PIECE_TOKENS, 1] = 9.0
    none = np.array([1.0, 0.5], dtype=np.float32)
    assert best_piece(none, tokens[:8], 10).tolist() == [5.5, 15, 17]
    assert best_piece(none, tokens[: 6 + MAX_PIECE_TOKENS], 10).tolist()[1:] != [15, 15 + MAX_PIECE_TOKENS]


def test_a_text_without_tokens_has_a_piece_of_none() -> None:
    logit, first, last = best_piece(np.zeros(2, dtype=np.float32), np.zeros((0, 2), dtype=np.float32), 4)
    assert last < first
    assert logit < -50


def test_the_passages_of_the_best_sentences_are_read_each_once_and_for_the_part_they_answer() -> None:
    texts = [passage(f"One. Two about {n}.", name=f"d{n}") for n in range(5)]
    sources = sources_of(*texts).sentences()
    scored = [Scored(source, logit=float(-n), part=0) for n, source in enumerate(sources)]
    assert [one.name for one in to_read(scored, 1)[0]] == [one.name for one in texts[:PASSAGES]]
    halves = [Scored(one.source, one.logit, part=n % 2) for n, one in enumerate(scored)]
    assert [len(mine) for mine in to_read(halves, 2)] == [2, 2]


def test_the_sentence_that_holds_the_piece_is_lifted_above_its_neighbours() -> None:
    text = passage(f"{TOWER} Many visit the tower of Paris.")
    first, second = sources_of(text).sentences()
    scored = [Scored(first, 1.0), Scored(second, 2.0)]
    start = TOWER.index("Gustave")
    found = lifted(scored, {(0, text.name): Reading(8.0, start, start + 14)})
    assert found[0].worth > found[1].worth == 2.0
    nothing = lifted(scored, {(0, text.name): Reading(-8.0, start, start + 14)})
    assert [one.worth for one in nothing] == [1.0, 2.0]


@pytest.mark.parametrize(("logit", "confidence", "told"), [(12.0, 0.95, True), (12.0, 0.1, False), (-12.0, 0.5, False)])
def test_a_short_answer_is_told_where_sentence_and_piece_are_sure(logit: float, confidence: float, told: bool) -> None:
    source = sources_of(passage(TOWER, start=7)).sentences()[0]
    start = TOWER.index("Gustave")
    found = short_answer(source, Reading(logit, start, start + 14), confidence)
    assert bool(found) is told
    if found:
        assert (found.text, found.span.start) == ("Gustave Eiffel", 7 + start)
        assert 0 < found.probability <= confidence


def test_a_piece_outside_the_best_sentence_is_no_short_answer() -> None:
    second = sources_of(passage(f"{TOWER} Many visit it.")).sentences()[1]
    assert short_answer(second, Reading(12.0, 0, 4), 1.0) is None
    assert short_answer(second, None, 1.0) is None


async def conclusion(min_confidence: float | None, beside: str = "Many visit the tower every year. ") -> Conclusion:
    agent = Synthesis(WordScorer(), None)
    run = FakeRun(agent.card, "Who built the Eiffel Tower in Paris between 1887 and 31 March 1889?")
    run.min_confidence = min_confidence
    run.feed(passage(f"{beside}{TOWER}", start=40))
    run.end()
    await agent.run(run)
    return run.emitted[-1].conclusion


async def test_the_short_answer_has_its_place_in_the_document() -> None:
    found = (await conclusion(0.0)).short_answer
    text = " " * 40 + f"Many visit the tower every year. {TOWER}"
    assert text[found.span.start : found.span.end] == found.text
    assert found.document == "documents/a"


async def test_the_caller_sets_how_sure_an_answer_must_be() -> None:
    always, never = await conclusion(0.0), await conclusion(1.0)
    assert always.answered
    assert not never.answered
    assert not never.HasField("short_answer")
    assert always.confidence == never.confidence


async def test_a_document_of_one_sentence_answers_as_surely_as_a_long_one() -> None:
    assert (await conclusion(0.0, beside="")).confidence == (await conclusion(0.0)).confidence
