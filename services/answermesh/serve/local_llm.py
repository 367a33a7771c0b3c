"""A language model beside the mesh: llama.cpp's OpenAI-compatible server over one GGUF file (extra `local-llm`).

It is a process of its own because its native code computes on all cores, and a fault in it must take no agent along.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from answermesh.config import Settings
from answermesh.errors import Failure, Reason, invalid_field
from answermesh.serve.addresses import split
from answermesh.serve.stopping import stop_signals

SERVICE = "llm"
# Holds the key that callers must bring; unset, the server asks for none.
KEY_VARIABLE = "ANSWERMESH_LOCAL_LLM_KEY"
# Tokens of the passages and the answer, for each of the calls that run at the same time.
_CONTEXT_TOKENS = 4096
_PARALLEL_CALLS = 2
# The server reads some 100 tokens a second on a slow machine before it says a word.
_SILENCE_LIMIT_S = 60

_log = logging.getLogger(__name__)


async def serve_llm(listen: str, gguf: Path, ready: Callable[[str], None]) -> None:
    """Serve the model of a GGUF file until SIGTERM.

    Raises Failure(UNIMPLEMENTED) without the extra local-llm, Failure(MODEL_UNAVAILABLE) if the file cannot be loaded.
    """
    host, port = split("--listen", listen)
    with stop_signals() as stop:
        server = await asyncio.to_thread(_load, host, port, gguf)
        ready(server.listening_address.removeprefix("http://"))
        await stop.wait()


def model_of(settings: Settings, gguf: Path | None) -> Path:
    """The file to serve: the one given, or the small one of the manifest, fetched where it is missing."""
    if gguf is not None:
        if not gguf.is_file():
            raise invalid_field("--gguf", f"{gguf} is no file; give the path of a GGUF model.")
        if not _is_gguf(gguf):
            raise invalid_field("--gguf", f"{gguf} is not a GGUF file; give one that llama.cpp can read.")
        return gguf.absolute()
    from answermesh.models.fetch import ensure
    from answermesh.models.manifest import LOCAL_LLM

    return ensure(settings.cache_dir, [LOCAL_LLM])[LOCAL_LLM]


def settings_with(config: Path | None, address: str, model: str) -> str:
    """The text of a settings file, with one more provider: the server at `address`, after all others.

    Raises Failure(INVALID_FIELD) where the file cannot be extended.
    """
    text = config.read_text(encoding="utf-8") if config else ""
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in model)
    text += f"""
[[providers]]
name = "local"
base_url = "http://{address}/v1"
api_key_env = "{KEY_VARIABLE}"
models = ["{name}"]
max_concurrency = {_PARALLEL_CALLS}
timeout_s = {_SILENCE_LIMIT_S}
"""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = f"{config} cannot be extended by the local model; write its providers as [[providers]] tables."
        raise invalid_field("providers", message) from error
    return text


def _is_gguf(path: Path) -> bool:
    with path.open("rb") as opened:
        return opened.read(4) == b"GGUF"


def _load(host: str, port: int, gguf: Path) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        message = "A local language model needs the extra local-llm; install answermesh[local-llm]."
        raise Failure(Reason.UNIMPLEMENTED, message) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.hostnames = [host]
    params.port = port
    if key := os.environ.get(KEY_VARIABLE):
        params.api_keys = [key]
    params.n_parallel = _PARALLEL_CALLS
    params.n_ctx = _CONTEXT_TOKENS * _PARALLEL_CALLS
    # Its default keeps up to 8 GiB of old prompts.
    params.cache_ram_mib = 64
    params.ui = False
    params.endpoint_slots = False
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        _log.exception("the model cannot be loaded")
        message = f"{gguf} cannot be loaded; is it a whole GGUF file, and is there memory for it?"
        raise Failure(Reason.MODEL_UNAVAILABLE, message) from error
