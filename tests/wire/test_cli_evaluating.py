"""`answermesh eval` against real servicers, as a person types it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from answermesh.cli.main import main
from answermesh.errors import Failure, Reason
from answermesh.v1.document_service_pb2 import SearchPassagesResponse
from answermesh.v1.finding_pb2 import Passage
from tests.wire.fake_mesh import FakeMesh, fake_mesh

CORPUS = {"raft": "raft elects a leader", "quorum": "a quorum is a majority", "snapshot": "a snapshot holds the state"}
QUERIES = {"q1": ("which elects", "raft"), "q2": ("what holds state", "snapshot"), "q3": ("majority", "snapshot")}


class Library(FakeMesh):
    """Finds by shared words in what was imported."""

    searched = 0

    async def SearchPassages(self, request: Any, context: Any) -> SearchPassagesResponse:
        self._fail()
        self.searched += 1
        asked = set(request.query.split())
        ranked = sorted(self.files, key=lambda uri: -len(asked & set(self.files[uri].decode().split())))
        return SearchPassagesResponse(passages=[Passage(uri=uri) for uri in ranked])


@pytest_asyncio.fixture
async def mesh() -> AsyncIterator[FakeMesh]:
    async with fake_mesh(Library) as fake:
        yield fake


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ANSWERMESH_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ANSWERMESH_CACHE_DIR", str(tmp_path / "cache"))
    folder = tmp_path / "mine"
    folder.mkdir()
    corpus = [{"id": one, "text": text} for one, text in CORPUS.items()]
    queries = [{"id": one, "text": text, "gold_ids": [gold]} for one, (text, gold) in QUERIES.items()]
    queries.append({"id": "q4", "text": "nothing answers this", "gold_ids": ["raft"], "answerable": False})
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


async def run(*args: str | Path) -> Result:
    """In a thread, since the command runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["eval", *map(str, args)])


async def evaluated(mesh: FakeMesh, folder: Path, *args: str) -> dict[str, Any]:
    result = await run("retrieval", "--data", folder, "--address", mesh.address, "--json", folder / "out.json", *args)
    assert result.exit_code == 0, result.output
    return dict(json.loads((folder / "out.json").read_text()))


async def test_a_set_of_ones_own_is_imported_and_measured(mesh: FakeMesh, folder: Path) -> None:
    told = await evaluated(mesh, folder)
    assert set(mesh.files) == set(CORPUS)
    [figures] = told["figures"]
    assert (figures["suite"], figures["task"], figures["items"], figures["failed"]) == ("retrieval", "mine", 3, 0)
    assert figures["metrics"]["R@1"]["value"] == pytest.approx(2 / 3)


async def test_a_run_goes_on_where_it_failed(mesh: Library, folder: Path) -> None:
    mesh.failure = Failure(Reason.DATABASE_UNAVAILABLE, "It restarts.")
    mesh.files = {"raft": b"raft"}
    failed = await run("retrieval", "--data", folder, "--address", mesh.address)
    assert failed.exit_code != 0
    assert "It restarts." in failed.output
    mesh.failure = None
    first = await evaluated(mesh, folder, "--resume", "last", "--limit", "2")
    assert mesh.searched == 2
    second = await evaluated(mesh, folder, "--resume", "last")
    assert mesh.searched == 3
    assert first["run"] == second["run"]


async def test_the_worst_items_are_shown_with_what_was_found(mesh: FakeMesh, folder: Path) -> None:
    await evaluated(mesh, folder)
    shown = (await run("show", "last", "--worst", "1")).output
    assert "q3" in shown
    assert "query: majority" in shown
    assert '"quorum"' in shown
    line = (await run("show", "--worst", "1", "--json")).output
    assert json.loads(line)["item"] == "q3"
    assert "nDCG@10" in (await run("show")).output


async def test_two_runs_are_listed_compared_reported_and_forgotten(mesh: FakeMesh, folder: Path) -> None:
    first = (await evaluated(mesh, folder))["run"]
    second = (await evaluated(mesh, folder))["run"]
    assert [line.split()[0] for line in (await run("list")).output.splitlines()[1:]] == [second, first]
    compared = (await run("compare", first, second)).output
    assert "+0.0000" in compared
    report = folder / "report.md"
    assert (await run("report", first, second, "--output", report)).exit_code == 0
    assert "| items | 3 |" in report.read_text()
    assert "| R@1 | 0.667 [" in report.read_text()
    assert "](report/retrieval.svg)" in report.read_text()
    assert (folder / "report" / "retrieval.svg").read_text().startswith("<svg")
    assert (await run("report", first, "--output", folder / "report.html")).exit_code == 0
    assert "<svg" in (folder / "report.html").read_text()
    assert (await run("forget", first)).exit_code == 0
    assert first not in (await run("list")).output


async def test_a_suite_or_a_set_that_is_none_is_refused_with_those_that_are(mesh: FakeMesh, folder: Path) -> None:
    wrong = await run("retreival", "--data", folder)
    assert wrong.exit_code == 1
    assert "there are retrieval" in wrong.output
    assert (await run("retrieval", "--data", folder, "--set", "yours")).exit_code == 1


async def test_an_llm_that_is_not_configured_is_refused(folder: Path) -> None:
    refused = await run("retrieval", "--data", folder, "--llm", "oracle")
    assert refused.exit_code == 1
    assert "'oracle' is no provider" in refused.output
