"""The synthesis agent without a language model: source sentences, unchanged, or an honest no."""

from __future__ import annotations

import asyncio

from answermesh.agents.authoring.extractive import Scored, choose, joined, quotable
from answermesh.agents.synthesis import Synthesis
from answermesh.v1.finding_pb2 import Conclusion, Finding
from tests.fake_run import FakeRun, WordScorer, passage, sources_of

QUOTA = "etcd is a store for keys. The default quota of etcd is 2 GB of data. Bananas are yellow and sweet fruit."


async def answer(question: str, *texts: str) -> tuple[str, list[Finding]]:
    agent = Synthesis(WordScorer(), None)
    run = FakeRun(agent.card, question)
    run.feed(*(passage(text, name=f"d{n}", title=f"Doc {n}") for n, text in enumerate(texts)))
    run.end()
    await agent.run(run)
    text = ""
    for finding in run.emitted:
        if finding.HasField("text_delta"):
            assert finding.text_delta.offset == len(text)
            text += finding.text_delta.text
    return text, run.emitted


async def test_the_answer_is_made_of_source_sentences_unchanged() -> None:
    text, emitted = await answer("What is the default quota of etcd?", QUOTA)
    sentences = [finding.sentence for finding in emitted if finding.HasField("sentence")]
    assert text.startswith("The default quota of etcd is 2 GB of data.") or "The default quota" in text
    for sentence in sentences:
        assert sentence.text in QUOTA
        assert text[sentence.span.start : sentence.span.end] == sentence.text
        assert sentence.verbatim
        assert list(sentence.passages) == ["documents/d0/passages/0"]
    conclusion = emitted[-1].conclusion
    assert conclusion.mode == Conclusion.MODE_EXTRACTIVE
    assert conclusion.answered
    assert conclusion.model == ""


async def test_documents_that_do_not_answer_are_said_not_to_answer_and_no_sentence_is_claimed() -> None:
    text, emitted = await answer("Who won the football cup?", QUOTA)
    assert text == "The documents do not answer this question. The nearest passages found are in “Doc 0”."
    assert not any(finding.HasField("sentence") for finding in emitted)
    assert not emitted[-1].conclusion.answered
    assert emitted[-1].conclusion.confidence < 0.5


async def test_no_passage_at_all_is_said_too() -> None:
    text, emitted = await answer("Who won?")
    assert text == "The documents do not answer this question: no passage about it was found."
    assert emitted[-1].conclusion.confidence == 0


async def test_both_parts_of_a_compound_question_are_answered() -> None:
    text, _ = await answer(
        "What is a learner and what is a witness?",
        "A learner is a member that does not vote.",
        "A witness is a tie breaker in a vote.",
    )
    assert "A learner is" in text
    assert "A witness is" in text


async def test_the_author_begins_when_the_search_has_answered_not_when_all_producers_have_ended() -> None:
    agent = Synthesis(WordScorer(), None)
    run = FakeRun(agent.card, "What is the default quota of etcd?")
    async with asyncio.TaskGroup() as group:
        group.create_task(agent.run(run))
        run.feed(passage("etcd keeps data in memory mapped files.", name="g", searched=False))
        run.feed(passage(QUOTA))
        emitted = await run.emitted_at_least(3)
        assert emitted[-1].HasField("conclusion")


def test_headings_code_and_questions_are_no_answers() -> None:
    code = "```\nquota of etcd: the default is 2\n```\n"
    text = f"# The default quota of etcd\n\nWhat is the default quota of etcd?\n\n{code}"
    assert not any(quotable(source) for source in sources_of(passage(text)).sentences())


def test_a_sentence_that_leans_on_the_one_before_brings_it_along() -> None:
    sources = sources_of(passage("A learner is a new kind of member. It cannot vote in any election.")).sentences()
    places = {(source.passage.name, source.index): source for source in sources}
    chosen = choose("Who votes?", [Scored(sources[0], -3.0), Scored(sources[1], 5.0)], places)
    assert [source.index for source in chosen] == [0, 1]


def test_sentences_that_say_the_same_are_told_once() -> None:
    one, other = sources_of(
        passage("The default quota of etcd is 2 GB."), passage("The default quota of etcd is 2 GB now.", name="b")
    ).sentences()
    assert choose("What is the quota?", [Scored(one, 5.0), Scored(other, 4.9)], {}) == [one]


def test_a_sentence_about_something_that_is_only_alike_is_not_told() -> None:
    question = "Which band from Aarhus released a live album?"
    right, alike, more = sources_of(
        passage("Fen is a band from Aarhus.", name="a"),
        passage("Moor is a band from another place.", name="b"),
        passage("A live album of the band came out in May.", name="c"),
    ).sentences()
    chosen = choose(question, [Scored(right, 5.0), Scored(alike, 4.9), Scored(more, 4.8)], {})
    assert chosen == [right, more]


def test_sentences_without_an_end_stand_on_lines_of_their_own() -> None:
    sources = sources_of(passage("- the first item of the list\n- the second item of the list\n")).sentences()
    assert joined(sources) == ["the first item of the list", "\nthe second item of the list"]


async def test_what_a_speaker_says_in_a_conversation_is_told_to_its_end() -> None:
    turn = "Bob: My list for a trip is long. It holds Italy. It holds Spain."
    chat = f"Ann: What is on your list?\n{turn}\nAnn: Good to hear that."
    text, emitted = await answer("What is on the list for a trip?", chat)
    assert text == turn
    sentences = [finding.sentence for finding in emitted if finding.HasField("sentence")]
    assert [one.text for one in sentences] == ["Bob: My list for a trip is long.", "It holds Italy.", "It holds Spain."]
