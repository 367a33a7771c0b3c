"""The local language model for real: a GGUF file, llama.cpp's server in a process of its own, our client."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from answermesh.config import load
from answermesh.errors import Failure
from answermesh.llm import LanguageModels, Ledger, Message
from answermesh.llm.provider import parse_providers
from answermesh.models import fetch
from answermesh.models.manifest import LOCAL_LLM
from answermesh.serve.local_llm import KEY_VARIABLE
from tests.mesh_process import BIN, until_there

pytest.importorskip("xllamacpp", reason="the extra local-llm is not installed")

ASK = [Message("user", "What is the capital of France? Answer in one short sentence.")]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 20}},
    "required": ["city"],
    "additionalProperties": False,
}
KEY = {KEY_VARIABLE: "a key of this test"}


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[dict[str, Any]]:
    """The small model of the manifest, served; yields the provider that leads there."""
    # The first time on a machine, the file (93 MB) is fetched.
    gguf = (await asyncio.to_thread(fetch.ensure, load().cache_dir, [LOCAL_LLM]))[LOCAL_LLM]
    ready, log = folder / "ready.json", folder / "llm.log"
    argv = ("serve", "llm", "--listen", "127.0.0.1:0", "--gguf", gguf, "--ready-file", ready)
    with log.open("wb") as opened:
        process = await asyncio.create_subprocess_exec(
            BIN / "answermesh", *argv, env={**os.environ, **KEY}, stdin=asyncio.subprocess.DEVNULL, stderr=opened
        )
        try:
            await until_there(ready, process, log)
            address = json.loads(ready.read_text())["address"]
            yield {"name": "local", "base_url": f"http://{address}/v1", "models": ["m"], "api_key_env": KEY_VARIABLE}
        finally:
            process.terminate()
            async with asyncio.timeout(30):
                await process.wait()


@pytest.mark.timeout(300)
async def test_a_real_model_streams_text_gives_json_and_stops_when_left(tmp_path: Path) -> None:
    ledger = Ledger()
    async with served(tmp_path) as provider:
        llm = LanguageModels(parse_providers([provider], KEY))
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
    assert (told.provider, told.cost_micros) == ("local", 0)
    assert told.input_tokens > 10
    assert told_json.output_tokens > 3
    assert left.id.startswith("estimated-")


@pytest.mark.timeout(120)
async def test_without_the_key_nobody_is_served(tmp_path: Path) -> None:
    async with served(tmp_path) as provider:
        keyless = {key: value for key, value in provider.items() if key != "api_key_env"}
        llm = LanguageModels(parse_providers([keyless]))
        with pytest.raises(Failure, match="refuses our key"):
            await llm.complete_json("citation", ASK, SCHEMA, max_tokens=5, ledger=Ledger())
        await llm.aclose()
