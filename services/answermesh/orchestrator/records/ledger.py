"""What follows from events, entered in the same transaction as they: states, runs of agents, calls of models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Any

from answermesh.store import Transaction, statements
from answermesh.v1.query_pb2 import Query, QueryEvent

if TYPE_CHECKING:
    from answermesh.orchestrator.records.journal import Entry, QueryLog

SQL = statements("answermesh.orchestrator.records", "queries")


async def accept(tx: Transaction, logs: Sequence[QueryLog]) -> None:
    """Store new queries that end with their callers. Storing the same again changes nothing."""
    rows = [
        (q.query_id, q.record.SerializeToString(), q.record.state, q.record.create_time.ToDatetime(UTC), q.newborn_of)
        for q in logs
    ]
    await tx.execute(SQL.insert_attached, *_columns(rows))


async def enter(tx: Transaction, entries: Sequence[Entry]) -> None:
    """Store events of queries that are locked, and what follows from them. Entering the same again changes nothing."""
    await tx.execute(
        SQL.insert_events,
        [e.log.query_id for e in entries],
        [e.event.sequence for e in entries],
        [e.event.SerializeToString() for e in entries],
    )
    records: dict[str, Query] = {}
    runs: list[tuple[Any, ...]] = []
    calls: list[tuple[Any, ...]] = []
    for entry in entries:
        event, query_id = entry.event, entry.log.query_id
        match event.WhichOneof("event"):
            # A new query has just been stored as it is now.
            case "state_changed" if not entry.log.newborn_of:
                records[query_id] = entry.log.record
            case "query_ended":
                records[query_id] = event.query_ended
            case "agent_ended":
                runs.append((query_id, event.sequence, *_run(event)))
            case "usage" if not event.usage.cached:
                calls.append((query_id, *_call(event)))
    if records:
        await tx.execute(
            SQL.update_queries,
            list(records),
            [record.SerializeToString() for record in records.values()],
            [record.state for record in records.values()],
        )
    if runs:
        await tx.execute(SQL.insert_agent_runs, *_columns(runs))
    if calls:
        await tx.execute(SQL.insert_model_calls, *_columns(calls))


def _run(event: QueryEvent) -> tuple[Any, ...]:
    ended = event.agent_ended
    moment = event.event_time.ToDatetime(UTC)
    return ended.agent, moment, ended.duration.ToMicroseconds() / 1e6, ended.HasField("error")


def _call(event: QueryEvent) -> tuple[Any, ...]:
    usage = event.usage
    moment = event.event_time.ToDatetime(UTC)
    duration_s = usage.duration.ToMicroseconds() / 1e6
    tokens = (usage.input_tokens, usage.output_tokens, usage.cost_micros)
    return usage.agent, usage.id, usage.provider, usage.model, moment, duration_s, *tokens


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
