"""The journal lets in what the fencing token allows, and nothing else."""

from __future__ import annotations

import asyncio

from answermesh.orchestrator.records.journal import Journal
from answermesh.orchestrator.records.leases import Leases
from answermesh.orchestrator.records.queries import Queries, new_query
from answermesh.store import Store
from answermesh.v1.query_pb2 import QueryEvent

TENANT = "default"


def started(agent: str) -> QueryEvent:
    return QueryEvent(agent_started=QueryEvent.AgentStarted(agent=agent, attempt=1))


async def test_of_two_logs_of_a_query_in_one_commit_the_stale_one_lets_nothing_in(store: Store) -> None:
    queries, leases = Queries(store), Leases(store)
    query = new_query("Well?", plan="default", timeout_s=0, documents=[])
    query_id = query.name.removeprefix("queries/")
    await queries.accept(TENANT, query)
    [claim] = await leases.claim(TENANT, begun=0, waiting=1, lapsed=False, priority=100)
    again = await leases.seize(TENANT, query_id)
    assert again is not None
    journal = Journal(store)
    stale = journal.open(TENANT, claim.record, claim.fence, 1)
    current = journal.open(TENANT, again.record, again.fence, 1)
    # As when a process that stood still has taken up anew what it had lost.
    stale.append(started("stale"))
    current.append(started("current"))
    writing = asyncio.create_task(journal.run())
    async with asyncio.timeout(10):
        await current.flush()
        while stale.failure is None:
            await stale.wait()
    journal.close(stale)
    events = await queries.events(TENANT, query_id)
    writing.cancel()

    assert [event.agent_started.agent for event in events[1:]] == ["current"]
    assert not stale.recent
    assert journal.log(TENANT, query_id) is current
