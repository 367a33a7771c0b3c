"""A language model on this machine: llama.cpp's OpenAI-compatible server in a child process (extra `local-llm`).

    async with LocalServer(Path("model.gguf"), run_dir) as local:
        Settings(providers=(local.provider(),))

    ANSWERMESH_LOCAL_LLM_KEY=… python -m answermesh.llm.local --model FILE --port-file FILE

The server listens on loopback only, on a port that the kernel chooses and the port file tells, and wants the API key.
It is a process of its own because its native code computes on all cores, and a fault in it must take no agent along.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from answermesh.errors import Failure, Reason, invalid_field

KEY_VARIABLE = "ANSWERMESH_LOCAL_LLM_KEY"
# A 1.5 GB file took 7 s on two busy cores.
START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 10.0
_POLL_S = 0.05
# For each of the calls that run at once: a question with some passages, and the answer.
_CONTEXT_TOKENS = 4096
_CALLS_AT_ONCE = 2


class LocalServer:
    """The child process, from here; an async context manager. Starting raises Failure(MODEL_UNAVAILABLE)."""

    def __init__(self, model: Path, folder: Path) -> None:
        """`model` is a GGUF file; `folder` is private, and gets the server's log."""
        self._model = model
        self._folder = folder
        self._key = secrets.token_urlsafe(24)
        self.base_url = ""

    def provider(self) -> dict[str, Any]:
        """The provider table that leads here; the reading process needs the variable of `environ`."""
        table: dict[str, Any] = {"name": "local", "base_url": self.base_url, "models": [self._model.stem]}
        return {**table, "api_key_env": KEY_VARIABLE, "max_concurrency": _CALLS_AT_ONCE}

    def environ(self) -> dict[str, str]:
        """The variable that holds the key."""
        return {KEY_VARIABLE: self._key}

    async def wait(self) -> int:
        """The exit code of the server, when it ends."""
        return await self._process.wait()

    async def __aenter__(self) -> LocalServer:
        check(self._model)
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        port_file = Path(tempfile.mkdtemp(dir=self._folder)) / "port"
        command = [sys.executable, "-m", __name__, "--model", str(self._model), "--port-file", str(port_file)]
        with (self._folder / "local-llm.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.environ()}
            )
        try:
            self.base_url = await self._started(port_file)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _started(self, port_file: Path) -> str:
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not (base_url := _read(port_file)):
                    if self._process.returncode is not None:
                        raise self._failure(f"ended with {self._process.returncode}")
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise self._failure(f"was not ready within {START_TIMEOUT_S:.0f} s") from None
        return base_url

    async def _stop(self) -> None:
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _failure(self, what: str) -> Failure:
        message = f"The local language model of {self._model} {what}; {self._folder / 'local-llm.log'} says why."
        return Failure(Reason.MODEL_UNAVAILABLE, message)


def check(model: Path) -> None:
    """Raises Failure(MODEL_UNAVAILABLE) without the extra `local-llm`, Failure(INVALID_FIELD) if it is no GGUF."""
    if find_spec("xllamacpp") is None:
        message = "The local language model needs the extra local-llm: install answermesh[local-llm]."
        raise Failure(Reason.MODEL_UNAVAILABLE, message)
    try:
        with model.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        raise invalid_field("gguf", f"{model} cannot be read: {error.strerror}.") from error
    if magic != b"GGUF":
        raise invalid_field("gguf", f"{model} is not a GGUF file; give one that llama.cpp can read.")


def _read(port_file: Path) -> str:
    """The base URL; empty until the server answers."""
    try:
        return port_file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return ""


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m answermesh.llm.local", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--port-file", type=Path, required=True, help="gets the base URL once the server answers")
    options = parser.parse_args(arguments)
    # Blocked before the server's threads exist, so that none of them takes the signal.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    server = _serve(options.model, os.environ[KEY_VARIABLE])
    written = options.port_file.with_suffix(".new")
    written.write_text(f"{server.listening_address}/v1\n", encoding="utf-8")
    written.replace(options.port_file)
    signal.sigwait(ends)


def _serve(model: Path, key: str) -> Any:
    # Only here: the extra may be missing, and the library is 100 MB of native code.
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {model.stem}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.n_ctx = _CONTEXT_TOKENS * _CALLS_AT_ONCE
    params.n_parallel = _CALLS_AT_ONCE
    # Its default keeps up to 8 GiB of old prompts.
    params.cache_ram_mib = 64
    params.ui = False
    params.endpoint_slots = False
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
