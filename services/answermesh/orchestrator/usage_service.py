"""UsageService: what answers cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
from google.protobuf.duration_pb2 import Duration

from answermesh.errors import invalid_field
from answermesh.rpc.tenancy import current_tenant
from answermesh.store import Store, statements
from answermesh.v1 import usage_service_pb2 as pb
from answermesh.v1.usage_service_pb2_grpc import UsageServiceServicer

SQL = statements("answermesh.orchestrator.records", "queries")

# The time counted where the caller names no start.
DEFAULT_SPAN = timedelta(days=30)


class UsageService(UsageServiceServicer):
    """The servicer."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def GetUsage(
        self, request: pb.GetUsageRequest, context: grpc.aio.ServicerContext[pb.GetUsageRequest, pb.GetUsageResponse]
    ) -> pb.GetUsageResponse:
        end = request.end_time.ToDatetime(UTC) if request.HasField("end_time") else datetime.now(UTC)
        start = request.start_time.ToDatetime(UTC) if request.HasField("start_time") else end - DEFAULT_SPAN
        if start >= end:
            raise invalid_field("start_time", f"is {start.isoformat()}; must be before end_time, {end.isoformat()}.")
        async with self._store.transaction(current_tenant()) as tx:
            runs = await tx.fetch(SQL.agent_usage, start, end)
            calls = await tx.fetch(SQL.model_usage, start, end)
            query_count = await tx.fetchval(SQL.query_count, start, end)
        return pb.GetUsageResponse(
            agent_runs=[
                pb.GetUsageResponse.AgentRuns(
                    day=row["day"],
                    agent=row["agent"],
                    run_count=row["run_count"],
                    failure_count=row["failure_count"],
                    latency_p50=_duration(row["latency_s"][0]),
                    latency_p95=_duration(row["latency_s"][1]),
                    latency_p99=_duration(row["latency_s"][2]),
                )
                for row in runs
            ],
            model_calls=[
                pb.GetUsageResponse.ModelCalls(
                    day=row["day"],
                    agent=row["agent"],
                    provider=row["provider"],
                    model=row["model"],
                    call_count=row["call_count"],
                    input_tokens=row["input_tokens"],
                    output_tokens=row["output_tokens"],
                    cost_micros=row["cost_micros"],
                    latency_p50=_duration(row["latency_s"][0]),
                    latency_p95=_duration(row["latency_s"][1]),
                )
                for row in calls
            ],
            query_count=query_count,
            cost_micros=sum(row["cost_micros"] for row in calls),
        )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=seconds))
    return duration
