"""The agents' LLM paths, through the real client, against a scripted server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from answermesh.agents.citation import Citation
from answermesh.agents.entities import Entities
from answermesh.agents.factcheck import Factcheck
from answermesh.agents.synthesis import Synthesis
from answermesh.config import Settings
from answermesh.errors import Failure, Reason
from answermesh.llm import LanguageModels
from answermesh.v1.finding_pb2 import Conclusion, Verdict
from tests.fake_run import FakeRun, WordScorer, passage, sentence
from tests.scripted_llm import Cut, Fault, Say, SayJson, ScriptedLLM

TEXT = "The default quota of the etcd store is 2 GB. A learner does not vote."
QUESTION = "What is the default quota of the etcd store?"


@asynccontextmanager
async def scripted(*answers: Say | Fault | Cut) -> AsyncIterator[tuple[ScriptedLLM, LanguageModels]]:
    async with ScriptedLLM() as server:
        server.script(*answers)
        llm = LanguageModels.from_settings(Settings(providers=(server.provider(),)))
        assert llm is not None
        try:
            yield server, llm
        finally:
            await llm.aclose()


async def written(llm: LanguageModels, text: str = "") -> FakeRun:
    agent = Synthesis(WordScorer(), llm)
    run = FakeRun(agent.card, QUESTION)
    run.text = text
    run.feed(passage(TEXT))
    run.end()
    await agent.run(run)
    return run


def text_of(run: FakeRun) -> str:
    return "".join(finding.text_delta.text for finding in run.emitted if finding.HasField("text_delta"))


async def test_an_answer_is_streamed_without_markers_and_with_its_sources_and_its_bill() -> None:
    async with scripted(Say("The quota is 2 GB. [1] Learners do not vote [1].")) as (server, llm):
        run = await written(llm)
    assert text_of(run) == "The quota is 2 GB. Learners do not vote."
    sentences = [finding.sentence for finding in run.emitted if finding.HasField("sentence")]
    assert [one.text for one in sentences] == ["The quota is 2 GB.", "Learners do not vote."]
    assert all(list(one.passages) == ["documents/a/passages/0"] and not one.verbatim for one in sentences)
    conclusion = run.emitted[-1].conclusion
    assert (conclusion.mode, conclusion.model, conclusion.answered) == (
        Conclusion.MODE_GENERATIVE,
        "scripted-model",
        True,
    )
    assert [record.model for record in run.ledger.take()] == ["scripted-model"]
    assert TEXT in server.requests[0].prompt


async def test_a_model_that_finds_nothing_is_an_unanswered_question() -> None:
    async with scripted(Say("NOT_FOUND")) as (_, llm):
        run = await written(llm)
    assert text_of(run).startswith("The documents do not answer this question.")
    assert not run.emitted[-1].conclusion.answered
    assert not any(finding.HasField("sentence") for finding in run.emitted)


async def test_where_the_model_fails_before_any_text_the_answer_is_composed() -> None:
    async with scripted(Fault(400)) as (_, llm):
        run = await written(llm)
    assert text_of(run) == "The default quota of the etcd store is 2 GB."
    assert run.emitted[-1].conclusion.mode == Conclusion.MODE_EXTRACTIVE


async def test_where_the_model_breaks_off_the_run_fails_and_repeats_nothing() -> None:
    async with scripted(Cut("The quota is 2 GB. [1] And ")) as (_, llm):
        with pytest.raises(Failure) as raised:
            await written(llm)
    assert raised.value.reason is Reason.MODEL_UNAVAILABLE


async def test_an_answer_that_broke_off_is_gone_on_with_where_it_ended() -> None:
    told = "The quota is 2 GB. Learners do"
    async with scripted(Say(" not vote. [1]")) as (server, llm):
        run = await written(llm, told)
    deltas = [finding.text_delta for finding in run.emitted if finding.HasField("text_delta")]
    assert deltas[0].offset == len(told)
    assert told + text_of(run) == "The quota is 2 GB. Learners do not vote."
    sentences = [finding.sentence for finding in run.emitted if finding.HasField("sentence")]
    assert [(one.index, one.text) for one in sentences] == [(0, "The quota is 2 GB."), (1, "Learners do not vote.")]
    assert list(sentences[1].passages) == ["documents/a/passages/0"]
    assert told in server.requests[0].prompt


async def test_a_model_that_fails_again_leaves_what_was_told() -> None:
    async with scripted(Fault(400)) as (_, llm):
        with pytest.raises(Failure):
            await written(llm, "The quota is 2 GB. And")


async def test_two_questions_frame_the_same_source_differently() -> None:
    async with scripted(Say("NOT_FOUND"), Say("NOT_FOUND")) as (server, llm):
        await written(llm)
        await written(llm)
    assert server.requests[0].prompt != server.requests[1].prompt


async def judged(claim: str, verdict: str, source: int = 1) -> Verdict:
    answer = {"verdicts": [{"sentence": 1, "verdict": verdict, "source": source, "reason": "so it says"}]}
    async with scripted(SayJson(answer)) as (_, llm):
        run = FakeRun(Factcheck.card)
        run.feed(passage(TEXT), sentence(claim))
        run.end()
        await Factcheck(WordScorer(), llm).run(run)
    [finding] = run.emitted
    return finding.verdict


async def test_a_paraphrase_is_supported_by_the_judge_with_evidence() -> None:
    verdict = await judged("Out of the box the etcd store has room for 2 GB.", "SUPPORTED")
    assert verdict.value == Verdict.VALUE_SUPPORTED
    assert verdict.method == "scripted-model"
    assert verdict.evidence.text


async def test_a_judge_that_overlooks_a_number_is_overruled() -> None:
    verdict = await judged("Out of the box the etcd store has room for 3 GB.", "SUPPORTED")
    assert verdict.value == Verdict.VALUE_NOT_ENOUGH_EVIDENCE
    assert "3 GB" in verdict.rationale


async def test_a_judge_without_evidence_is_not_heard() -> None:
    verdict = await judged("Out of the box the etcd store has room for 2 GB.", "REFUTED", source=0)
    assert verdict.value != Verdict.VALUE_REFUTED
    assert verdict.method == "embedded"


async def test_a_model_points_out_the_source_of_a_paraphrase() -> None:
    async with scripted(SayJson({"sources": [1, 9]})) as (_, llm):
        run = FakeRun(Citation.card)
        run.feed(passage(TEXT), sentence("Out of the box the etcd store has room for 2 GB."))
        run.end()
        await Citation(WordScorer(), llm).run(run)
    assert [finding.citation.text for finding in run.emitted] == ["The default quota of the etcd store is 2 GB."]


async def test_a_model_splits_a_long_question_and_its_failure_costs_nothing() -> None:
    question = "Which settings must I raise before a large store is defragmented safely?"
    for answer, expected in (
        (SayJson({"questions": ["What is defragmentation?"]}), ["What is defragmentation?"]),
        (Fault(400), []),
    ):
        async with scripted(answer) as (_, llm):
            run = FakeRun(Entities.card, question)
            await Entities(llm).run(run)
        found = [finding.subquestion.text for finding in run.emitted if finding.HasField("subquestion")]
        assert found == expected


@pytest.mark.parametrize("drops", [False, True])
async def test_a_sentence_that_no_passage_supports_is_kept_or_dropped_as_asked(drops: bool) -> None:
    right, wrong = "The default quota of the etcd store is 2 GB.", "It was written in 1987 by Ada Lovelace."
    async with scripted(Say(f"{right} [1] {wrong} [1] {right}")) as (_, llm):
        agent = Synthesis(WordScorer(), llm)
        run = FakeRun(agent.card, "What is the quota?")
        run.drops_unsupported = drops
        run.feed(passage(TEXT))
        run.end()
        await agent.run(run)
    text = "".join(finding.text_delta.text for finding in run.emitted)
    sentences = [finding.sentence for finding in run.emitted if finding.HasField("sentence")]
    assert text == (f"{right} {right}" if drops else f"{right} {wrong} {right}")
    assert [text[one.span.start : one.span.end] for one in sentences] == [one.text for one in sentences]
    assert [one.index for one in sentences] == list(range(len(sentences)))


async def test_an_answer_of_which_all_is_dropped_says_that_the_documents_do_not_answer() -> None:
    async with scripted(Say("It was written in 1987 by Ada Lovelace. [1]")) as (_, llm):
        agent = Synthesis(WordScorer(), llm)
        run = FakeRun(agent.card, "Who wrote it?")
        run.drops_unsupported = True
        run.feed(passage(TEXT))
        run.end()
        await agent.run(run)
    assert run.emitted[0].text_delta.text.startswith("The documents do not answer this question.")
    assert not run.emitted[-1].conclusion.answered
