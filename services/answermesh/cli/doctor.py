"""`answermesh doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from answermesh.cli import exits
from answermesh.cli.connect import address_option, find_address, run

if TYPE_CHECKING:
    from answermesh.cli.checks import Finding
    from answermesh.config import Settings


@click.command()
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file of settings.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="Data folder, as given to `up`.")
@address_option
def doctor(config: Path | None, data: Path | None, address: str | None) -> None:
    """Check settings, data folder, model files, database, and every part of the running mesh.

    Says of each what is wrong and what to do; changes nothing. The exit code is 1 if something is wrong.
    """

    async def work() -> int:
        from answermesh.cli.checks import Outcome, local_checks

        findings: list[Finding] = []
        settings = _settings(config, data, findings)
        if settings is not None:
            findings += local_checks(settings)
        findings += await _mesh(address)
        _print(findings)
        return exits.FAILED if any(finding.outcome is Outcome.BAD for finding in findings) else exits.OK

    run(work)


def _settings(config: Path | None, data: Path | None, findings: list[Finding]) -> Settings | None:
    from dataclasses import replace

    from answermesh.cli.checks import Finding, Outcome
    from answermesh.config import load
    from answermesh.errors import Failure

    try:
        settings = load(config)
    except Failure as failure:
        findings.append(Finding("settings", Outcome.BAD, failure.message, "Correct the settings file."))
        return None
    findings.append(Finding("settings", Outcome.GOOD, str(config) if config else "defaults and environment"))
    return replace(settings, data_dir=data.absolute()) if data else settings


async def _mesh(address: str | None) -> list[Finding]:
    from answermesh.cli.checks import Finding, Outcome
    from answermesh.client import Client
    from answermesh.errors import Failure
    from answermesh.typed.answermesh import v1

    try:
        where = find_address(address)
        async with Client(where, timeout_s=10.0) as mesh:
            health = await mesh.health()
    except Failure as failure:
        # That none runs is no fault, unless one was named.
        outcome = Outcome.BAD if address else Outcome.REMARK
        return [Finding("mesh", outcome, failure.message)]
    outcomes = {v1.HealthStatus.STATUS_OK: Outcome.GOOD, v1.HealthStatus.STATUS_DEGRADED: Outcome.REMARK}
    return [
        Finding("mesh", Outcome.GOOD, f"answers at {where}, version {health.version}"),
        *(
            Finding(part.component, outcomes.get(part.status, Outcome.BAD), part.message or "serves")
            for part in health.components
        ),
    ]


def _print(findings: Iterable[Finding]) -> None:
    from rich.text import Text

    from answermesh.cli.checks import Outcome
    from answermesh.cli.output import output
    from answermesh.cli.printable import printable

    marks = {Outcome.GOOD: ("✓", "green"), Outcome.REMARK: ("•", "yellow"), Outcome.BAD: ("✗", "bold red")}
    console = output()
    for finding in findings:
        mark, style = marks[finding.outcome]
        line = Text(f"{mark} ", style=style).append(f"{printable(finding.what)}: ", style="bold not dim")
        console.print(line.append(printable(finding.detail), style="default"))
        if finding.mend:
            console.print(Text(f"    {printable(finding.mend)}", style="yellow"))
