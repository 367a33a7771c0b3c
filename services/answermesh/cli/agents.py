"""`answermesh agents`: who takes part in the mesh, and how well."""

from __future__ import annotations

import click

from answermesh.cli.connect import address_option, find_address, run


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print each agent as one line of JSON.")
@address_option
def agents(as_json: bool, address: str | None) -> None:
    """List the agents with their health and measured latency."""

    async def work() -> None:
        from answermesh.cli.messages import to_json
        from answermesh.cli.tables import print_table
        from answermesh.client import Client

        async with Client(find_address(address)) as mesh:
            found = [agent async for agent in mesh.list_agents()]
        if as_json:
            for agent in found:
                click.echo(to_json(agent))
            return
        columns = ("AGENT", "HEALTH", "REPLICAS", "RUNS", "FAILED", "P50", "P95", "CONSUMES", "PRODUCES", "REMARK")
        print_table(columns, map(_row, found), empty="No agents have joined this mesh.")

    run(work)


def _row(agent: object) -> tuple[object, ...]:
    from answermesh.cli.answer_view import seconds
    from answermesh.client.members import name_of
    from answermesh.typed.answermesh import v1

    assert isinstance(agent, v1.Agent)
    consumes = [
        name_of(one.kind, v1.FindingKind, "KIND_") + ("?" if one.optional else "") for one in agent.card.consumes
    ]
    produces = [name_of(kind, v1.FindingKind, "KIND_") for kind in agent.card.produces]
    has_run = agent.run_count > 0
    return (
        agent.name.removeprefix("agents/"),
        name_of(agent.health, v1.AgentHealth, "HEALTH_"),
        sum(replica.health == v1.AgentHealth.HEALTH_SERVING for replica in agent.replicas),
        agent.run_count,
        agent.failure_count,
        seconds(agent.latency_p50) if has_run else "",
        seconds(agent.latency_p95) if has_run else "",
        " ".join(consumes),
        " ".join(produces),
        agent.health_message,
    )
