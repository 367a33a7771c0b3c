"""A mesh of real processes: started, used, hurt, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest

from answermesh.client import Client
from answermesh.client.members import chosen
from answermesh.config import AGENTS
from answermesh.errors import Failure
from answermesh.typed.answermesh import v1
from tests.mesh_process import children_of, pids_of

pytestmark = pytest.mark.timeout(240)

_READY_WAIT_S = 90
_STOP_WAIT_S = 45


@dataclass
class Mesh:
    process: asyncio.subprocess.Process
    address: str
    http: str
    data: Path

    def children(self) -> dict[str, int]:
        """Process ids by service."""
        return pids_of(self.process.pid)

    async def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(_STOP_WAIT_S):
            return await self.process.wait()


@asynccontextmanager
async def running(folder: Path, *options: str) -> AsyncIterator[Mesh]:
    ready = folder / "ready.json"
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(folder / "runtime")}
    environ.pop("DATABASE_URL", None)
    argv = ["up", "--data", str(folder / "data"), "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "answermesh.cli.main", *argv, *options, "--ready-file", str(ready), env=environ
    )
    try:
        async with asyncio.timeout(_READY_WAIT_S):
            while not ready.exists():
                assert process.returncode is None, f"up ended with {process.returncode}"
                await asyncio.sleep(0.05)
        addresses = json.loads(ready.read_text())
        yield Mesh(process, addresses["grpc"], addresses["http"], folder / "data")
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(_STOP_WAIT_S):
                await process.wait()


async def import_text(mesh: Client, folder: Path) -> None:
    path = folder / "etcd.md"
    path.write_text(
        "# Elections\n\nWhen a leader fails, the etcd cluster automatically elects a new leader. "
        "A learner does not vote in elections. A snapshot is taken with etcdctl.\n"
    )
    responses = [one async for one in mesh.import_paths([path], base=folder)]
    assert not [
        one.error.message for one in responses if one.outcome == v1.ImportDocumentsResponseOutcome.OUTCOME_FAILED
    ]


async def answer_of(mesh: Client, question: str) -> v1.Query:
    async with aclosing(mesh.ask(question)) as events:
        async for event in events:
            kind, value = chosen(event, "event")
            if kind == "query_ended":
                assert isinstance(value, v1.Query)
                return value
    raise AssertionError("the answer has no end")


async def until_answered(address: str, question: str) -> v1.Query:
    """Ask until a whole answer comes: parts of the mesh are on their way back."""
    async with asyncio.timeout(60):
        while True:
            async with Client(address) as mesh:
                try:
                    query = await answer_of(mesh, question)
                except Failure:
                    await asyncio.sleep(0.1)
                    continue
            if query.state == v1.QueryState.STATE_SUCCEEDED and query.answer.answered:
                return query
            await asyncio.sleep(0.1)


async def test_agents_that_share_a_process_answer_and_come_back_together(tmp_path: Path) -> None:
    question = "What happens when a leader fails?"
    async with running(tmp_path, "--pack", "all") as started:
        async with Client(started.address) as mesh:
            await import_text(mesh, tmp_path)
            query = await answer_of(mesh, question)
        assert query.state == v1.QueryState.STATE_SUCCEEDED
        assert query.answer.sentences[0].citations
        children = started.children()
        assert len(children) == 6, children
        os.kill(children[",".join(AGENTS)], signal.SIGKILL)
        await until_answered(started.address, question)
        assert await started.stop() == 0


async def test_a_mesh_answers_heals_keeps_what_it_has_and_stops_without_a_trace(tmp_path: Path) -> None:
    question = "What happens when a leader fails?"
    async with running(tmp_path, "--orchestrators", "2", "--replicas", "retrieval=2") as started:
        async with Client(started.address) as mesh:
            await import_text(mesh, tmp_path)
            query = await answer_of(mesh, question)
        assert query.state == v1.QueryState.STATE_SUCCEEDED
        assert "elects a new leader" in query.answer.text
        cited = [citation for sentence in query.answer.sentences for citation in sentence.citations]
        assert cited
        assert all(citation.uri == "etcd.md" for citation in cited)

        before = started.children()
        assert "retrieval-2" in before
        for victim in ("synthesis", "orchestrator", "orchestrator-2", "knowledge", "postgres"):
            os.kill(before[victim], signal.SIGKILL)
            # An orchestrator comes back on the port that clients know.
            await until_answered(started.address, question)
        for address in started.address.split(","):
            await until_answered(address, question)
        async with httpx.AsyncClient(base_url=f"http://{started.http}") as http:
            assert (await http.get(f"/v1/{query.name}")).json()["state"] == "STATE_SUCCEEDED"
        after = started.children()
        assert after.keys() == before.keys()
        assert after["synthesis"] != before["synthesis"]

        run_dir = Path(json.loads((started.data / "mesh.json").read_text())["run_dir"])
        assert await started.stop() == 0
        assert not run_dir.exists()
        assert not (started.data / "mesh.json").exists()
        assert not (tmp_path / "ready.json").exists()
        assert not any(Path(f"/proc/{pid}").exists() for pid in after.values())

    async with running(tmp_path) as again, Client(again.address) as mesh:
        assert (await mesh.get_query(query.name)).answer.text == query.answer.text
        # Killed without a word, it takes its services with it.
        children = again.children().values()
        again.process.kill()
        async with asyncio.timeout(_STOP_WAIT_S):
            while any(_runs(pid) for pid in children):  # noqa: ASYNC110 - other processes set no Event here
                await asyncio.sleep(0.05)


def _runs(pid: int) -> bool:
    """Whether a process is there and is more than a name that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


EVALUATION = """
import asyncio, os, sys
from pathlib import Path
from answermesh.evaluation.meshes import running

async def main():
    async with running(Path(sys.argv[1]), (), None) as address:
        print(address, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_the_mesh_of_an_evaluation_ends_with_it_however_that_ends(tmp_path: Path) -> None:
    evaluation = await asyncio.create_subprocess_exec(
        sys.executable, "-c", EVALUATION, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert evaluation.stdout is not None
    async with asyncio.timeout(_READY_WAIT_S):
        address = (await evaluation.stdout.readline()).decode().strip()
    [mesh] = children_of(evaluation.pid)
    assert address
    assert _runs(mesh)

    evaluation.kill()
    await evaluation.wait()
    async with asyncio.timeout(_STOP_WAIT_S):
        while _runs(mesh):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)
