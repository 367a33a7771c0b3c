"""The local language model for real: a GGUF file, llama.cpp's server in a child process, our client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from answermesh.config import load
from answermesh.errors import Failure, Reason
from answermesh.llm import LanguageModels, Ledger, Message
from answermesh.llm.local import LocalServer, check
from answermesh.llm.provider import parse_providers
from answermesh.models import fetch
from answermesh.models.manifest import LOCAL_LLM

pytest.importorskip("xllamacpp", reason="the extra local-llm is not installed")

ASK = [Message("user", "What is the capital of France? Answer in one short sentence.")]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}


# The first time on a machine, the file (93 MB) is fetched.
@pytest.mark.timeout(300)
async def test_a_real_model_streams_text_gives_json_and_stops_when_left(tmp_path: Path) -> None:
    paths = await asyncio.to_thread(fetch.ensure, load().cache_dir, [LOCAL_LLM])
    ledger = Ledger()
    async with LocalServer(paths[LOCAL_LLM], tmp_path) as local:
        llm = LanguageModels(parse_providers([local.provider()], local.environ()))
        async with llm.complete("synthesis", ASK, max_tokens=40, ledger=ledger) as pieces:
            text = [piece async for piece in pieces]
        value = await llm.complete_json("citation", ASK, SCHEMA, max_tokens=60, ledger=ledger)
        async with llm.complete("synthesis", ASK, max_tokens=2000, ledger=ledger, temperature=1.0) as pieces:
            async for _ in pieces:
                break
        await llm.aclose()

    assert len(text) > 2
    assert "Paris" in "".join(text)
    assert isinstance(value["city"], str)
    told, told_json, left = ledger.take()
    assert (told.model, told.cost_micros) == ("SmolLM2-135M-Instruct.Q4_1", 0)
    assert told.input_tokens > 10
    assert told_json.output_tokens > 3
    assert left.id.startswith("estimated-")


@pytest.mark.timeout(120)
async def test_without_the_key_nobody_is_served(tmp_path: Path) -> None:
    paths = await asyncio.to_thread(fetch.ensure, load().cache_dir, [LOCAL_LLM])
    async with LocalServer(paths[LOCAL_LLM], tmp_path) as local:
        assert local.base_url.startswith("http://127.0.0.1:")
        keyless = {key: value for key, value in local.provider().items() if key != "api_key_env"}
        llm = LanguageModels(parse_providers([keyless]))
        with pytest.raises(Failure, match="refuses our key"):
            await llm.complete_json("citation", ASK, SCHEMA, max_tokens=5, ledger=Ledger())
        await llm.aclose()


async def test_a_broken_file_says_where_the_log_is(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and then nothing of use")

    with pytest.raises(Failure, match=r"local-llm\.log") as caught:
        async with LocalServer(broken, tmp_path):
            pass

    assert caught.value.reason is Reason.MODEL_UNAVAILABLE


def test_what_is_no_gguf_file_is_refused_before_a_start(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")

    for name in ("notes.txt", "missing.gguf"):
        with pytest.raises(Failure, match=name) as caught:
            check(tmp_path / name)
        assert caught.value.reason is Reason.INVALID_FIELD
