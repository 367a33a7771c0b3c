"""Reading: what a question asks for, the pieces of a sentence, the short answer, and when to say no."""

from __future__ import annotations

import pytest

from answermesh.agents.authoring.reading import read
from answermesh.agents.authoring.spans import Kind, pieces
from answermesh.agents.language.asking import Asked, asking
from answermesh.agents.synthesis import Synthesis
from answermesh.v1.finding_pb2 import Conclusion
from tests.fake_run import FakeRun, WordScorer, passage

TOWER = "The Eiffel Tower was built by Gustave Eiffel in Paris between 1887 and 31 March 1889."


@pytest.mark.parametrize(
    ("question", "asked", "focus"),
    [
        ("Who built the tower?", Asked.WHO, ""),
        ("In what year was it built?", Asked.WHEN, "year"),
        ("How many steps does it have?", Asked.NUMBER, "steps"),
        ("How is it painted?", Asked.HOW, ""),
        ("Which other major city has one?", Asked.WHERE, "city"),
        ("What metal was used?", Asked.SORT, "metal"),
        ("What is it?", Asked.WHAT, ""),
        ("Name the builder.", Asked.OTHER, ""),
    ],
)
def test_a_question_says_what_it_asks_for(question: str, asked: Asked, focus: str) -> None:
    found = asking(question)
    assert (found.asked, found.focus) == (asked, focus)


def test_the_pieces_of_a_sentence_are_its_names_dates_and_phrases() -> None:
    found = {TOWER[piece.start : piece.end]: piece.kind for piece in pieces(TOWER)}
    assert found["Gustave Eiffel"] is Kind.NAME
    assert found["31 March 1889"] is found["1887"] is Kind.DATE
    assert "built" in found
    spans = [(piece.start, piece.end) for piece in pieces(TOWER)]
    assert len(set(spans)) == len(spans)
    assert spans == sorted(spans)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who built the Eiffel Tower?", "Gustave Eiffel"),
        ("Where was the Eiffel Tower built?", "Paris"),
    ],
)
def test_the_short_answer_is_the_piece_that_is_asked_for(question: str, answer: str) -> None:
    found = read(question, [TOWER, "Many visit it."], [5.0, -2.0])
    assert found is not None
    assert found.sentence == 0
    assert TOWER[found.piece.start : found.piece.end] == answer
    assert 0 < found.probability <= 1


def test_a_sentence_without_pieces_has_no_short_answer() -> None:
    assert read("What is it?", ["It is."], [0.0]) is None


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
