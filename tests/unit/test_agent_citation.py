"""The citation agent: exact spans, or none."""

from __future__ import annotations

from answermesh.agents.citation import Citation
from tests.fake_run import FakeRun, WordScorer, passage, sentence

TEXT = "etcd is a store. The default quota of etcd is 2 GB.\nIt can be raised to 8 GB."


async def test_a_verbatim_sentence_is_cited_at_its_place_in_the_document_without_a_model() -> None:
    scorer = WordScorer()
    run = FakeRun(Citation.card)
    run.feed(passage(TEXT, start=100), sentence("The default quota of etcd is 2 GB."))
    run.end()
    await Citation(scorer, None).run(run)
    [found] = [finding.citation for finding in run.emitted]
    assert (found.span.start, found.span.end) == (117, 151)
    assert found.text == TEXT[17:51] == "The default quota of etcd is 2 GB."
    assert found.confidence == 1.0
    assert scorer.calls == []


async def test_white_space_aside_a_sentence_is_verbatim_too() -> None:
    run = FakeRun(Citation.card)
    run.feed(passage(TEXT), sentence("The default quota of etcd is 2 GB. It can be raised to 8 GB."))
    run.end()
    await Citation(WordScorer(), None).run(run)
    assert run.emitted[0].citation.text == TEXT[17:]


async def test_a_sentence_in_the_words_of_one_is_cited_to_the_smallest_span() -> None:
    run = FakeRun(Citation.card)
    run.feed(passage(TEXT), sentence("The default quota is 2 GB."))
    run.end()
    await Citation(WordScorer(), None).run(run)
    assert [finding.citation.text for finding in run.emitted] == ["The default quota of etcd is 2 GB."]


async def test_nothing_is_cited_where_no_source_carries_the_sentence() -> None:
    run = FakeRun(Citation.card)
    run.feed(passage(TEXT), sentence("The default quota of etcd is 3 GB."), sentence("Bananas are yellow.", 1))
    run.end()
    await Citation(WordScorer(), None).run(run)
    assert run.emitted == []


async def test_a_passage_that_comes_late_is_cited_when_it_comes() -> None:
    run = FakeRun(Citation.card)
    run.feed(passage("Something else.", name="b"), sentence("The default quota of etcd is 2 GB."), passage(TEXT))
    run.end()
    await Citation(WordScorer(), None).run(run)
    assert [finding.citation.document for finding in run.emitted] == ["documents/a"]


async def test_the_same_run_gives_the_same_identifiers() -> None:
    ids = []
    for _ in range(2):
        run = FakeRun(Citation.card)
        run.feed(passage(TEXT), sentence("The default quota is 2 GB."))
        run.end()
        await Citation(WordScorer(), None).run(run)
        ids.append([finding.id for finding in run.emitted])
    assert ids[0] == ids[1] != []
