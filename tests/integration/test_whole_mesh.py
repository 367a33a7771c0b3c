"""A whole mesh of processes, used by strangers' tools, and hurt while it answers."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from answermesh.client import Client
from answermesh.client.members import chosen
from answermesh.errors import Failure, Reason
from answermesh.rpc.channel import open_channel
from answermesh.typed.answermesh import v1
from tests.mesh_process import BIN, Mesh, run, running_mesh
from tests.scripted_agents import all_serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLES = Path(__file__).parents[2] / "examples"
RAFT = """# Raft

Raft is a consensus algorithm that is easy to understand. A Raft cluster elects one leader, which accepts requests.
A cluster of five members tolerates two failures. The leader sends heartbeats every 100 milliseconds by default.

# Learners

A learner is a member that receives log entries but does not vote. A learner is promoted once it has caught up.
"""
QUESTION = "How many failures does a cluster of five members tolerate?"
AGENTS = ("entities", "retrieval", "graph", "synthesis", "citation", "factcheck")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    folder = tmp_path_factory.mktemp("mesh")
    (folder / "raft.md").write_text(RAFT)
    async with running_mesh(folder) as started:
        await run(BIN / "answermesh", "import", "--address", started.grpc, folder / "raft.md")
        yield started


async def ask(mesh: Mesh) -> v1.Query:
    async with Client(mesh.grpc) as client:
        events = [event async for event in client.ask(QUESTION)]
    return events[-1].query_ended


def check_answer(query: v1.Query) -> None:
    """Two failures, cited to the very characters of the source."""
    assert "tolerates two failures" in query.answer.text
    for sentence in query.answer.sentences:
        for citation in sentence.citations:
            assert RAFT[citation.span.start : citation.span.end] == citation.text
    assert query.answer.sentences[0].citations
    assert query.answer.sentences[0].verdict.value == v1.VerdictValue.VALUE_SUPPORTED


@pytest.mark.timeout(180)
async def test_claims_are_checked_against_the_documents_and_against_given_texts(mesh: Mesh) -> None:
    async with Client(mesh.grpc) as client:
        right, wrong = await client.verify_claims(
            ["A cluster of five members tolerates two failures.", "A cluster of five members tolerates three failures."]
        )
        [given] = await client.verify_claims(["The sky is green."], evidence=["The sky is blue."])

    assert right.verdict.value == v1.VerdictValue.VALUE_SUPPORTED
    span = right.verdict.evidence.span
    assert RAFT[span.start : span.end] == right.verdict.evidence.text
    assert wrong.verdict.value == v1.VerdictValue.VALUE_REFUTED
    assert given.verdict.value != v1.VerdictValue.VALUE_SUPPORTED


async def settled(mesh: Mesh, agents: tuple[str, ...] = AGENTS) -> None:
    """Wait until these agents serve."""
    async with open_channel(mesh.grpc) as channel:
        await all_serving(channel, set(agents), timeout_s=60)


@pytest.mark.timeout(180)
async def test_a_question_is_answered_from_its_document_and_checked(mesh: Mesh) -> None:
    query = await ask(mesh)

    assert query.state == v1.QueryState.STATE_SUCCEEDED
    assert query.answer.mode == v1.ConclusionMode.MODE_EXTRACTIVE
    check_answer(query)


@pytest.mark.timeout(180)
async def test_grpcurl_lists_describes_and_asks_by_reflection(mesh: Mesh) -> None:
    services = await run(BIN / "grpcurl", "-plaintext", mesh.grpc, "list")
    described = await run(BIN / "grpcurl", "-plaintext", mesh.grpc, "describe", "answermesh.v1.DocumentService")
    body = json.dumps({"question": QUESTION})
    answer = await run(BIN / "grpcurl", "-plaintext", "-d", body, mesh.grpc, "answermesh.v1.QueryService/Ask")

    assert {"answermesh.v1.QueryService", "answermesh.v1.DocumentService"} <= set(services.split())
    assert "rpc ImportDocuments" in described
    assert "tolerates two failures" in answer


@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_sees_the_same_answer_as_events_that_can_be_resumed(mesh: Mesh) -> None:
    curl = ("curl", "-sSN", "-H", "Accept: text/event-stream")
    body = json.dumps({"question": QUESTION})
    url = f"http://{mesh.http}/v1"
    asked = await run(*curl, "-H", "Content-Type: application/json", "-d", body, f"{url}/queries:ask")
    events = [json.loads(line.removeprefix("data: ")) for line in asked.splitlines() if line.startswith("data: ")]
    name = events[0]["query"]
    resumed = await run(*curl, "-H", "Last-Event-ID: 5", f"{url}/{name}:watch")

    assert "tolerates two failures" in events[-1]["queryEnded"]["answer"]["text"]
    assert resumed == asked[asked.index("id: 6\n") :]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("agent", AGENTS)
async def test_an_answer_ends_though_an_agent_is_killed_in_its_middle(mesh: Mesh, agent: str) -> None:
    await settled(mesh)
    async with Client(mesh.grpc) as client:
        events = []
        async for event in client.ask(QUESTION):
            if not events:
                os.kill(mesh.pids()[agent], signal.SIGKILL)
            events.append(event)
    final = events[-1].query_ended
    await settled(mesh)
    again = await ask(mesh)

    if final.state == v1.QueryState.STATE_SUCCEEDED:
        check_answer(final)
    else:
        assert final.state == v1.QueryState.STATE_PARTIAL
        assert [failure.agent for failure in final.failures] == [agent]
    assert again.state == v1.QueryState.STATE_SUCCEEDED


@pytest.mark.timeout(180)
async def test_a_killed_postgres_loses_nothing_and_the_mesh_works_again_by_itself(mesh: Mesh) -> None:
    await settled(mesh)
    before = await ask(mesh)
    os.kill(mesh.pids()["postgres"], signal.SIGKILL)
    after = await answered_again(mesh)
    async with Client(mesh.grpc) as client:
        kept = await client.get_query(before.name)

    assert kept == before
    check_answer(after)


async def answered_again(mesh: Mesh) -> v1.Query:
    """The first answer that succeeds; what is asked while the database is away may be refused, with its reason."""
    async with asyncio.timeout(60):
        while True:
            try:
                query = await ask(mesh)
            except Failure as failure:
                if failure.reason not in (Reason.DATABASE_UNAVAILABLE, Reason.SERVICE_UNAVAILABLE):
                    raise
                continue
            if query.state == v1.QueryState.STATE_SUCCEEDED and query.answer.answered:
                return query


@pytest.mark.timeout(180)
async def test_an_agent_of_ones_own_joins_and_takes_part(mesh: Mesh, tmp_path: Path) -> None:
    await settled(mesh)
    glossary = tmp_path / "glossary.md"
    glossary.write_text("# failure\n\nA member that no longer answers.\n")
    process = await asyncio.create_subprocess_exec(BIN / "python", EXAMPLES / "glossary_agent.py", glossary, mesh.grpc)
    try:
        await settled(mesh, ("glossary",))
        async with Client(mesh.grpc) as client:
            events = [event async for event in client.ask(QUESTION)]
    finally:
        process.terminate()
        await process.wait()

    assert notes_of(events) == ["failure: A member that no longer answers."]
    assert events[-1].query_ended.state == v1.QueryState.STATE_SUCCEEDED


@pytest.mark.timeout(180)
@pytest.mark.skipif(shutil.which("npm") is None, reason="Node is not installed")
async def test_an_agent_in_node_joins_and_takes_part(mesh: Mesh, tmp_path: Path) -> None:
    await settled(mesh)
    folder = tmp_path / "node-agent"
    shutil.copytree(EXAMPLES / "node-agent", folder, ignore=shutil.ignore_patterns("node_modules"))
    await run("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--no-package-lock", timeout_s=120)
    environ = {**os.environ, "ANSWERMESH_PROTO": str(EXAMPLES.parent / "proto")}
    process = await asyncio.create_subprocess_exec("node", folder / "agent.js", mesh.grpc, env=environ)
    try:
        await settled(mesh, ("coverage",))
        async with Client(mesh.grpc) as client:
            events = [event async for event in client.ask(QUESTION)]
    finally:
        process.terminate()
        await process.wait()

    notes = notes_of(events)
    assert len(notes) == 1
    assert "passages read, from: Raft" in notes[0]


def notes_of(events: list[v1.QueryEvent]) -> list[str]:
    """The notes among events, as text."""
    findings = [event.finding for event in events if chosen(event, "event")[0] == "finding"]
    return [finding.note.text for finding in findings if chosen(finding, "value")[0] == "note"]
