"""Language models over real HTTP, against the scripted server: streams, faults, fallback, cancellation, cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from answermesh.errors import Failure, Reason
from answermesh.llm import Embeddings, LanguageModels, Ledger, Message
from answermesh.llm.provider import Provider, parse_providers
from answermesh.llm.router import Router
from answermesh.rpc.deadline import fail_after
from tests.scripted_llm import Answer, Cut, Fault, Garbage, Request, Say, SayJson, ScriptedLLM, Stall

ASK = [Message("system", "Answer."), Message("user", "Where?")]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


class Pauses:
    """Stands for the clock: takes down what was to be waited, and does not wait."""

    def __init__(self) -> None:
        self.taken_s: list[float] = []

    async def __call__(self, wait_s: float) -> None:
        self.taken_s.append(wait_s)


@asynccontextmanager
async def models(*servers: ScriptedLLM, pauses: Pauses | None = None, **values: Any) -> AsyncIterator[LanguageModels]:
    tables = [server.provider(name=f"p{index}", **values) for index, server in enumerate(servers)]
    providers = parse_providers(tables)
    llm = LanguageModels(providers, Router(providers, pauses or Pauses()))
    try:
        yield llm
    finally:
        await llm.aclose()


async def read_into(got: list[str], llm: LanguageModels, ledger: Ledger) -> None:
    async with llm.complete("synthesis", ASK, max_tokens=50, ledger=ledger) as pieces:
        async for piece in pieces:
            got.append(piece)


async def text_of(llm: LanguageModels, ledger: Ledger, task: str = "synthesis", temperature: float = 0.0) -> str:
    async with llm.complete(task, ASK, max_tokens=50, ledger=ledger, temperature=temperature) as pieces:
        return "".join([piece async for piece in pieces])


async def test_text_streams_piece_by_piece_and_is_entered_in_the_ledger() -> None:
    hold = asyncio.Event()
    ledger = Ledger()
    async with ScriptedLLM() as server, models(server, price_per_million_input=1.0) as llm:
        server.script(Say(chunks=["In ", "Paris."], holds={1: hold}, usage=(2_000_000, 5)))
        got = []
        async with llm.complete("synthesis", ASK, max_tokens=50, ledger=ledger) as pieces:
            async for piece in pieces:
                got.append(piece)
                hold.set()

    assert got == ["In ", "Paris."]
    [record] = ledger.take()
    assert (record.provider, record.model) == ("p0", "scripted-model")
    assert (record.input_tokens, record.output_tokens, record.cost_micros) == (2_000_000, 5, 2_000_000)
    assert server.requests[0].body["max_tokens"] == 50
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


async def test_a_rate_limit_is_waited_out_as_the_server_says() -> None:
    pauses = Pauses()
    async with ScriptedLLM() as server, models(server, pauses=pauses) as llm:
        server.script(Fault(429, retry_after="3"), Say("Here."))
        assert await text_of(llm, Ledger()) == "Here."

    assert [round(pause) for pause in pauses.taken_s] == [3]


@pytest.mark.parametrize("fault", [Fault(500), Fault(503), Cut(), Garbage(), Garbage(b"data: {oops\n\n")])
async def test_a_failure_before_any_text_is_retried(fault: Answer) -> None:
    pauses = Pauses()
    async with ScriptedLLM() as server, models(server, pauses=pauses) as llm:
        server.script(fault, fault, Say("Here."))
        assert await text_of(llm, Ledger()) == "Here."

    assert len(pauses.taken_s) == 2


@pytest.mark.parametrize("fault", [Fault(500), Fault(429, "30"), Fault(401), Fault(400), Cut(), Garbage()])
async def test_another_provider_takes_over_without_a_pause(fault: Answer) -> None:
    pauses, ledger = Pauses(), Ledger()
    async with ScriptedLLM() as first, ScriptedLLM() as second, models(first, second, pauses=pauses) as llm:
        first.script(fault)
        second.script(Say("Here."))
        assert await text_of(llm, ledger) == "Here."

    assert pauses.taken_s == []
    assert [record.provider for record in ledger.take()] == ["p1"]


async def test_silence_leaves_time_for_another_provider() -> None:
    async with ScriptedLLM() as first, ScriptedLLM() as second, models(first, second, timeout_s=0.2) as llm:
        first.script(Stall())
        second.script(Say("Here."))
        assert await text_of(llm, Ledger()) == "Here."
        await asyncio.wait_for(first.requests[0].disconnected.wait(), 10)


async def test_a_stream_cut_after_text_fails_and_never_repeats_text() -> None:
    got: list[str] = []
    ledger = Ledger()
    async with ScriptedLLM() as first, ScriptedLLM() as second, models(first, second) as llm:
        first.script(Cut("In Pa"))
        with pytest.raises(Failure, match="broke off") as caught:
            await read_into(got, llm, ledger)

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
    assert got == ["In Pa"]
    assert second.requests == []
    assert [record.id[:10] for record in ledger.take()] == ["estimated-"]


async def test_leaving_the_stream_closes_the_connection() -> None:
    ledger = Ledger()
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Say(chunks=["In ", "Paris."], holds={1: asyncio.Event()}))
        async with llm.complete("synthesis", ASK, max_tokens=50, ledger=ledger) as pieces:
            async for _ in pieces:
                break
        await asyncio.wait_for(server.requests[0].disconnected.wait(), 10)

    assert len(ledger.take()) == 1


@pytest.mark.parametrize("answer", [Stall(), Say(chunks=["a", "b"], holds={1: asyncio.Event()})])
async def test_cancelling_closes_the_connection_and_the_models_go_on(answer: Answer) -> None:
    async with ScriptedLLM() as server, models(server, max_concurrency=1) as llm:
        server.script(answer, Say("Here."))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(text_of(llm, Ledger()))
            request = await server.request(0)
            task.cancel()
        await asyncio.wait_for(request.disconnected.wait(), 10)
        assert await text_of(llm, Ledger()) == "Here."


async def test_the_deadline_ends_the_call_and_its_connection() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Stall())
        with pytest.raises(Failure):
            async with fail_after(0.2):
                await text_of(llm, Ledger())
        await asyncio.wait_for(server.requests[0].disconnected.wait(), 10)


async def test_a_pause_longer_than_the_deadline_is_not_begun() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Fault(429, retry_after="20"))
        with pytest.raises(Failure) as caught:
            async with fail_after(10):
                await text_of(llm, Ledger())

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
    assert caught.value.retry_after_s is not None
    assert 19 <= caught.value.retry_after_s <= 20


async def test_a_provider_that_keeps_failing_is_left_alone() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(*[Fault(500)] * 3)
        for _ in range(2):
            with pytest.raises(Failure) as caught:
                await text_of(llm, Ledger())

    assert len(server.requests) == 3
    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
    assert caught.value.retry_after_s is not None
    assert "scripted fault" not in caught.value.message


async def test_a_task_without_a_provider_says_what_to_configure() -> None:
    async with ScriptedLLM() as server, models(server, tasks=["factcheck"]) as llm:
        with pytest.raises(Failure, match="tasks of one"):
            await text_of(llm, Ledger())


async def test_json_that_fits_its_schema_comes_back_as_a_value() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(SayJson({"n": 3}))
        value = await llm.complete_json("citation", ASK, SCHEMA, max_tokens=50, ledger=Ledger())

    assert value == {"n": 3}
    assert server.requests[0].body["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize("bad", [Say("n is three"), SayJson({"n": "three"}), SayJson([])])
async def test_json_that_does_not_fit_is_asked_for_once_more(bad: Say) -> None:
    ledger = Ledger()
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(bad, Say('```json\n{"n": 3}\n```'))
        value = await llm.complete_json("citation", ASK, SCHEMA, max_tokens=50, ledger=ledger)

    assert value == {"n": 3}
    assert len(ledger.take()) == 2
    assert "cannot be used" in server.requests[1].prompt


async def test_json_that_never_fits_is_a_failure() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Say("no"), Say("no"))
        with pytest.raises(Failure, match="fits its schema"):
            await llm.complete_json("citation", ASK, SCHEMA, max_tokens=50, ledger=Ledger())

    assert len(server.requests) == 2


async def test_json_cut_at_the_limit_is_a_failure() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Say('{"n": 3}', finish_reason="length"))
        with pytest.raises(Failure, match="50 tokens"):
            await llm.complete_json("citation", ASK, SCHEMA, max_tokens=50, ledger=Ledger())


async def test_the_same_question_again_is_answered_from_the_cache_at_no_cost() -> None:
    first, second = Ledger(), Ledger()
    async with ScriptedLLM() as server, models(server, price_per_million_input=10.0) as llm:
        server.script(Say("Here."))
        texts = [await text_of(llm, first), await text_of(llm, second)]

    assert texts == ["Here.", "Here."]
    assert len(server.requests) == 1
    [paid], [cached] = first.take(), second.take()
    assert (paid.cached, cached.cached) == (False, True)
    assert (paid.cost_micros, cached.cost_micros) == (110, 0)


async def test_answers_at_a_temperature_are_not_reused() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Say("Here."), Say("There."))
        texts = [await text_of(llm, Ledger(), temperature=0.7) for _ in range(2)]

    assert texts == ["Here.", "There."]


async def test_identical_calls_share_one_request_and_one_that_leaves_disturbs_nobody() -> None:
    hold = asyncio.Event()
    ledgers = [Ledger() for _ in range(3)]
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Say(chunks=["In ", "Paris."], holds={1: hold}))
        async with asyncio.TaskGroup() as group:
            starter, *others = [group.create_task(text_of(llm, ledger)) for ledger in ledgers]
            await server.request(0)
            starter.cancel()
            await asyncio.wait([starter])
            hold.set()
            assert await asyncio.gather(*others) == ["In Paris."] * 2

    assert len(server.requests) == 1
    records = [record for ledger in ledgers for record in ledger.take()]
    assert sorted(record.cached for record in records) == [False, True]


async def test_one_callers_early_deadline_is_not_anothers() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Stall(), Say("Here."))

        async def hurried() -> None:
            with pytest.raises(Failure):
                async with fail_after(0.3):
                    await text_of(llm, Ledger())

        async with asyncio.TaskGroup() as group:
            group.create_task(hurried())
            await server.request(0)
            patient = group.create_task(text_of(llm, Ledger()))
            assert await patient == "Here."


async def test_no_more_calls_run_at_once_than_configured() -> None:
    hold = asyncio.Event()
    async with ScriptedLLM() as server, models(server, max_concurrency=2) as llm:
        server.on(lambda request: True, Say("Here.", holds={0: hold}))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(text_of(llm, Ledger(), temperature=0.5)) for _ in range(5)]
            await server.request(1)
            running = [request for request in server.requests if not request.ended.is_set()]
            assert len(running) == 2
            hold.set()
            await asyncio.gather(*tasks)

    assert len(server.requests) == 5


async def test_a_server_that_tells_no_usage_gets_an_estimate_that_says_so() -> None:
    ledger = Ledger()
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Say("Here and there.", usage=None))
        await text_of(llm, ledger)

    [record] = ledger.take()
    assert record.id.startswith("estimated-")
    assert record.output_tokens == 4


async def test_each_task_goes_to_its_provider() -> None:
    def echo(request: Request) -> Say:
        return Say(request.body["model"])

    async with ScriptedLLM() as server:
        server.on(lambda request: True, echo)
        tables = [
            server.provider(name="small", models=["s"], tasks=["factcheck"]),
            server.provider(name="big", models=["b"], tasks=["synthesis"]),
        ]
        llm = LanguageModels(parse_providers(tables))
        texts = [await text_of(llm, Ledger(), task) for task in ("synthesis", "factcheck")]
        await llm.aclose()

    assert texts == ["b", "s"]
    assert llm.model("synthesis") == "b"
    assert llm.model("entities") == ""


async def test_closing_ends_what_is_under_way() -> None:
    async with ScriptedLLM() as server, models(server) as llm:
        server.script(Stall())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(text_of(llm, Ledger()))
            request = await server.request(0)
            await llm.aclose()
            await asyncio.wait([task], timeout=10)
            assert task.done()
        await asyncio.wait_for(request.disconnected.wait(), 10)


async def test_embeddings_come_in_order_with_length_one() -> None:
    ledger = Ledger()
    async with ScriptedLLM(embed=lambda text: [float(len(text)), 0.0, 0.0]) as server:
        embeddings = Embeddings(Provider("p", server.base_url, ("e",), tasks=("embedding",)), dimensions=3)
        vectors = await embeddings.embed(["a", "bb"] * 50, ledger)
        await embeddings.aclose()

    assert vectors == [[1.0, 0.0, 0.0]] * 100
    assert server.requests[0].body["dimensions"] == 3
    assert sum(record.input_tokens for record in ledger.take()) == 300


async def test_vectors_of_another_size_are_refused() -> None:
    async with ScriptedLLM(embed=lambda text: [1.0]) as server:
        embeddings = Embeddings(Provider("p", server.base_url, ("e",), tasks=("embedding",)), dimensions=3)
        with pytest.raises(Failure) as caught:
            await embeddings.embed(["a"], Ledger())
        await embeddings.aclose()

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE
