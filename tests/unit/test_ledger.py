"""The ledger: tokens as told or estimated, cost in millionths."""

from __future__ import annotations

from answermesh.llm import Ledger
from answermesh.llm.course import Candidate
from answermesh.llm.ledger import ESTIMATED, Usage, from_cache
from answermesh.llm.provider import Provider
from answermesh.v1.query_pb2 import UsageRecord

CANDIDATE = Candidate(
    Provider("p", "http://127.0.0.1:9/v1", ("m",), price_per_million_input=0.5, price_per_million_output=2.0), "m"
)


def test_told_tokens_are_taken_and_priced() -> None:
    usage = Usage(CANDIDATE, "prompt", 1.0, 3.5, ["text"], "stop", input_tokens=1000, output_tokens=200)

    record = usage.record()

    assert (record.provider, record.model) == ("p", "m")
    assert (record.input_tokens, record.output_tokens, record.cost_micros) == (1000, 200, 900)
    assert record.duration.ToMilliseconds() == 2500
    assert not record.id.startswith(ESTIMATED)
    assert len(record.id) <= 64


def test_tokens_that_nobody_told_are_estimated_and_marked() -> None:
    record = Usage(CANDIDATE, "a" * 40, 0.0, 1.0, ["b" * 9, "c"]).record()

    assert (record.input_tokens, record.output_tokens) == (10, 3)
    assert record.id.startswith(ESTIMATED)
    assert len(record.id) <= 64


def test_an_answer_from_the_cache_costs_nothing_and_is_a_call_of_its_own() -> None:
    record = Usage(CANDIDATE, "prompt", 1.0, 3.5, [], "stop", input_tokens=1000, output_tokens=200).record()

    copy = from_cache(record)

    assert copy.cached
    assert (copy.cost_micros, copy.input_tokens, copy.output_tokens) == (0, 1000, 200)
    assert copy.id != record.id


def test_records_are_taken_once() -> None:
    ledger = Ledger()
    ledger.record(UsageRecord(id="1"))

    assert [record.id for record in ledger.take()] == ["1"]
    assert ledger.take() == []
