"""The factcheck agent: verdicts with evidence, as sentences come."""

from __future__ import annotations

import asyncio

import pytest

from answermesh.agents.checking.judging import guarded
from answermesh.agents.factcheck import Factcheck
from answermesh.v1.finding_pb2 import Verdict
from tests.fake_run import FakeRun, WordScorer, passage, sentence

TEXT = "etcd is a store. The default quota of the etcd store is 2 GB. A learner does not vote in elections."


async def check(*sentences: str, text: str = TEXT) -> list[Verdict]:
    run = FakeRun(Factcheck.card)
    run.feed(passage(text, start=50), *(sentence(one, index) for index, one in enumerate(sentences)))
    run.end()
    await Factcheck(WordScorer(), None).run(run)
    return sorted((finding.verdict for finding in run.emitted), key=lambda verdict: verdict.sentence_index)


async def test_a_sentence_of_the_source_is_supported_with_its_span() -> None:
    [verdict] = await check("The default quota of the etcd store is 2 GB.")
    assert verdict.value == Verdict.VALUE_SUPPORTED
    assert verdict.evidence.span.start == 50 + TEXT.index("The default")
    assert verdict.evidence.text == "The default quota of the etcd store is 2 GB."
    assert verdict.method == "embedded"


@pytest.mark.parametrize(
    ("altered", "rationale"),
    [
        ("The default quota of the etcd store is 3 GB.", "the source says 2 GB, the sentence says 3 GB"),
        ("A learner does vote in elections.", 'the source says "not", the sentence does not'),
    ],
)
async def test_an_altered_sentence_is_refuted_and_says_why(altered: str, rationale: str) -> None:
    [verdict] = await check(altered)
    assert verdict.value == Verdict.VALUE_REFUTED
    assert verdict.rationale == rationale
    assert verdict.evidence.text


async def test_another_name_and_an_unknown_thing_are_not_enough_evidence() -> None:
    near, far = await check("The default quota of the Consul store is 2 GB.", "Bananas are yellow and sweet.")
    assert near.value == far.value == Verdict.VALUE_NOT_ENOUGH_EVIDENCE
    assert near.evidence.text == "The default quota of the etcd store is 2 GB."
    assert not far.HasField("evidence")


async def test_a_supported_sentence_is_told_before_the_input_ends() -> None:
    run = FakeRun(Factcheck.card)
    async with asyncio.TaskGroup() as group:
        group.create_task(Factcheck(WordScorer(), None).run(run))
        run.feed(passage(TEXT), sentence("etcd is a store."))
        [finding] = await run.emitted_at_least(1)
        assert finding.verdict.value == Verdict.VALUE_SUPPORTED
        run.end()


async def test_a_passage_that_comes_after_the_sentence_can_support_it() -> None:
    run = FakeRun(Factcheck.card)
    claim = sentence("The default quota of the etcd store is 3 GB.")
    run.feed(passage(TEXT), claim, passage("The default quota of the etcd store is 3 GB.", name="b"))
    run.end()
    await Factcheck(WordScorer(), None).run(run)
    assert [finding.verdict.value for finding in run.emitted] == [Verdict.VALUE_SUPPORTED]


@pytest.mark.parametrize(
    ("claim", "source", "value"),
    [
        ("The quota of a store is 3 GB.", "The quota of a store is 2 GB.", Verdict.VALUE_REFUTED),
        ("Its size may be 3 GB.", "The quota is large.", Verdict.VALUE_NOT_ENOUGH_EVIDENCE),
        ("Learners of a cluster do not really vote.", "Learners of a cluster vote.", Verdict.VALUE_NOT_ENOUGH_EVIDENCE),
        ("The room for data is 2 GB.", "The default quota is 2 GB.", Verdict.VALUE_SUPPORTED),
    ],
)
def test_a_judge_is_not_believed_against_numbers_and_negations(
    claim: str, source: str, value: Verdict.Value.ValueType
) -> None:
    assert guarded(Verdict.VALUE_SUPPORTED, "it says so", claim, source)[0] == value
