"""The command line against real servicers, as a person types it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from answermesh.cli.main import main
from answermesh.errors import Failure, Reason
from tests.wire.fake_mesh import NAME, FakeMesh, events, failed_query, fake_mesh, partial_query


@pytest_asyncio.fixture
async def mesh() -> AsyncIterator[FakeMesh]:
    async with fake_mesh() as fake:
        yield fake


@pytest.fixture(autouse=True)
def _no_mesh_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "ANSWERMESH_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("ANSWERMESH_ADDRESS", raising=False)


async def run(mesh: FakeMesh, *args: str) -> Result:
    """In a thread, since the command runs a loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, [*args, "--address", mesh.address])


async def test_an_answer_shows_citations_verdicts_and_sources(mesh: FakeMesh) -> None:
    result = await run(mesh, "ask", "How?")
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "Raft elects a leader. [1] ✓" in text
    assert "It needs a quorum. [1][2] ✗" in text
    assert "The moon helps. ?" in text
    assert "docs/raft.md:10-40 A leader is elected by majority." in text
    assert "composed from source sentences, no language model" in text


async def test_the_finished_answer_is_printed_once_where_nobody_watches(mesh: FakeMesh) -> None:
    result = await run(mesh, "ask", "How?")
    assert result.output.count("Raft elects a leader.") == 1


async def test_an_escape_sequence_of_a_document_never_reaches_the_terminal(mesh: FakeMesh) -> None:
    for command in (["ask", "How?"], ["ask", "--trace", "How?"], ["ask", "--json", "How?"], ["search", "x"]):
        assert "\x1b" not in (await run(mesh, *command)).output
    for command in (["documents", "list"], ["documents", "show", "documents/d1", "--text"], ["queries", "show", NAME]):
        assert "\x1b" not in (await run(mesh, *command)).output


async def test_json_is_one_event_a_line_with_the_protos_names(mesh: FakeMesh) -> None:
    result = await run(mesh, "ask", "--json", "How?")
    told = [json.loads(line) for line in result.output.splitlines()]
    assert [event["sequence"] for event in told] == [str(number) for number in range(1, len(told) + 1)]
    assert told[-1]["queryEnded"]["state"] == "STATE_SUCCEEDED"
    ended = next(event["agentEnded"] for event in told if "agentEnded" in event)
    assert ended["error"]["details"][0]["reason"] == "SERVICE_UNAVAILABLE"


async def test_a_trace_tells_who_did_what_when(mesh: FakeMesh) -> None:
    lines = (await run(mesh, "ask", "--trace", "How?")).output.splitlines()
    assert lines[0] == "  0.000 s  query        RUNNING"
    assert any("graph        FAILED after 0.25 s" in line and "It died." in line for line in lines)
    assert any("factcheck    VERDICT     sentence 0: ✓ it is stated" in line for line in lines)


async def test_a_partial_answer_is_shown_with_the_agent_that_failed(mesh: FakeMesh) -> None:
    mesh.told = events(partial_query())
    result = await run(mesh, "ask", "How?")
    assert result.exit_code == 0
    assert "PARTIAL" in result.output
    assert "graph failed (SERVICE_UNAVAILABLE): It died." in result.output


async def test_a_failed_answer_says_why_and_ends_1(mesh: FakeMesh) -> None:
    mesh.told = events(failed_query())
    result = await run(mesh, "ask", "How?")
    assert result.exit_code == 1
    assert "AGENT_FAILED" in result.output
    assert "Agent 'synthesis' failed." in result.output


async def test_a_refused_request_ends_1_with_its_message(mesh: FakeMesh) -> None:
    mesh.failure = Failure(Reason.OVERLOADED, "Too many questions.", retry_after_s=2)
    result = await run(mesh, "ask", "How?")
    assert result.exit_code == 1
    assert result.stderr == "Error: Too many questions.\nTry again in 2 s.\n"


def test_without_a_mesh_a_command_ends_3_and_says_how_to_get_one() -> None:
    result = CliRunner().invoke(main, ["ask", "How?"])
    assert result.exit_code == 3
    assert "answermesh up" in result.stderr
    assert "--address" in result.stderr


@pytest.mark.parametrize(
    "args", [["ask"], ["ask", "--json", "--trace", "x"], ["serve", "nothing"], ["ask", "x", "--timeout", "0"], ["nope"]]
)
def test_wrong_usage_ends_2(args: list[str]) -> None:
    assert CliRunner().invoke(main, args).exit_code == 2


async def test_an_import_takes_folders_reports_what_failed_and_ends_1(mesh: FakeMesh, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    (folder / ".git").mkdir(parents=True)
    for name, text in {"a.md": "# A", "b.txt": "", ".git/c.md": "c", "picture.png": "p"}.items():
        (folder / name).write_text(text)
    result = await run(mesh, "import", str(folder))
    assert result.exit_code == 1
    assert "2 files: 1 created, 1 failed; 2 passages stored." in result.output
    assert "1 files of other types were left out" in result.output
    assert "b.txt is empty; import a file with text." in result.stderr
    assert [Path(uri).name for uri in mesh.files] == ["a.md", "b.txt"]


async def test_an_import_of_good_files_ends_0(mesh: FakeMesh, tmp_path: Path) -> None:
    (tmp_path / "a.weird").write_text("named itself, so it is sent")
    result = await run(mesh, "import", str(tmp_path / "a.weird"))
    assert result.exit_code == 0, result.output


async def test_queries_are_listed_over_pages_and_cancelled(mesh: FakeMesh) -> None:
    listed = (await run(mesh, "queries", "list")).output
    assert NAME in listed
    assert "queries/q2" in listed
    assert "queries/q2" not in (await run(mesh, "queries", "list", "--limit", "1")).output
    assert (await run(mesh, "queries", "cancel", NAME)).output == f"{NAME} is CANCELLED.\n"


async def test_a_query_is_shown_and_watched_like_it_was_answered(mesh: FakeMesh) -> None:
    for command in (["queries", "show", NAME], ["queries", "watch", NAME]):
        result = await run(mesh, *command)
        assert result.exit_code == 0, result.output
        assert "Raft elects a leader. [1] ✓" in " ".join(result.output.split())


async def test_documents_are_listed_and_deleted(mesh: FakeMesh) -> None:
    assert "docs/raft.md" in (await run(mesh, "documents", "list")).output
    assert (await run(mesh, "documents", "delete", "documents/d1")).exit_code == 0
    assert mesh.deleted == ["documents/d1"]


async def test_agents_are_listed_with_what_they_consume(mesh: FakeMesh) -> None:
    output = (await run(mesh, "agents")).output
    assert "graph" in output
    assert "ENTITY?" in output
    assert "SERVING" in output


async def test_the_doctor_ends_1_when_a_part_is_down_and_repeats_how_to_mend_it(mesh: FakeMesh) -> None:
    part = mesh.health.components.add(component="models", message="Start it, or look at its log.")
    part.status = 3
    result = await run(mesh, "doctor")
    assert result.exit_code == 1
    assert "models: Start it, or look at its log." in result.output


async def test_claims_are_shown_with_their_verdict_its_reason_and_its_place(mesh: FakeMesh, tmp_path: Path) -> None:
    (tmp_path / "report.txt").write_text("A leader is elected\nby majority.")
    over_documents = await run(mesh, "verify", "Seven it is.", "Eight it is.", "--document", "documents/d1")
    over_text = await run(mesh, "verify", "Seven it is.", "--evidence", str(tmp_path / "report.txt"))

    assert over_documents.exit_code == over_text.exit_code == 0, over_documents.output + over_text.output
    assert over_documents.output.count("✗") == 2
    assert "the source says 5, the sentence says 7 (0.87)" in over_documents.output
    assert "docs/raft.md:10-40  A leader is elected by majority." in over_documents.output
    assert "report.txt:10-40" in "".join(over_text.output.split("\n"))
    assert [list(one.documents) for one in mesh.verified] == [["documents/d1"], []]
    assert list(mesh.verified[1].evidence) == ["A leader is elected\nby majority."]


async def test_an_answer_is_exported_with_its_sources(mesh: FakeMesh) -> None:
    result = await run(mesh, "queries", "export", NAME, "--style", "chicago")
    assert result.exit_code == 0, result.output
    assert "Raft elects a leader.[1] It needs a quorum.[1][2] The moon helps." in result.output
    assert "docs/raft.md, characters 90–99." in result.output
    assert "\x1b" not in result.output


async def test_labels_are_given_to_all_files_of_an_import(mesh: FakeMesh, tmp_path: Path) -> None:
    for name in ("a.md", "b.md"):
        (tmp_path / name).write_text("text")
    result = await run(mesh, "import", str(tmp_path), "--label", "team=core", "--label", "note=a=b")
    assert result.exit_code == 0, result.output
    assert list(mesh.labels.values()) == [{"team": "core", "note": "a=b"}] * 2
    assert (await run(mesh, "import", str(tmp_path), "--label", "team")).exit_code == 2
