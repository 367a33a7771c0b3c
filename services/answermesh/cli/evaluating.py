"""`answermesh eval`: how good a mesh is on questions whose answers are known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from answermesh.cli.connect import run
from answermesh.cli.evaluations import COMMANDS, corpora, figures_of, kept_runs, print_figures, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answermesh.evaluation.meshes import Meshes
    from answermesh.evaluation.running import Chosen


class _Suites(click.Group):
    """`eval SUITE…` is `eval run SUITE…`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group("eval", cls=_Suites)
def evaluate() -> None:
    """Measure a mesh on questions whose answers are known.

    `answermesh eval SUITE… --data DIR` runs suites; the other commands look at what was measured.

    \b
    Examples:
      answermesh eval retrieval --data ./sets --limit 50
      answermesh eval show last --worst 5
      answermesh eval compare RUN last
    """


@evaluate.command("run")
@click.argument("suites", nargs=-1, required=True)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    envvar="ANSWERMESH_EVAL_DATA",
    show_envvar=True,
    required=True,
    help="Folder of a set, or of several.",
)
@click.option("--set", "only", multiple=True, metavar="SET", help="Only this set of the folder; repeatable.")
@click.option("--limit", type=click.IntRange(1), help="Items of each set at most: the same sample every time.")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="End then, with a fair sample of each set."
)
@click.option("--llm", metavar="NAME", help="`local`, a GGUF file, or a provider of the settings file; none without.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=2, show_default=True, help="Items under way at once."
)
@click.option("--resume", metavar="RUN", help="Go on with a run that was interrupted; `last` is the newest.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    help="Write the figures there; - is stdout.",
)
@click.option(
    "--address",
    metavar="HOST:PORT",
    help="Measure this mesh, importing the sets into it; without it, each corpus gets a mesh of its own.",
)
def run_(
    suites: tuple[str, ...],
    data: Path,
    only: tuple[str, ...],
    limit: int | None,
    minutes: float | None,
    llm: str | None,
    concurrency: int,
    resume: str | None,
    json_file: Path | None,
    address: str | None,
) -> None:
    """Run SUITES, or `all`.

    A mesh is started for each corpus and kept in the cache folder, so that the next run need not import again. Every
    item is recorded as it is done: an interrupted run goes on with --resume.
    """

    async def work() -> None:
        from answermesh.cli.evaluating_bars import Bars
        from answermesh.evaluation.running import measure_all

        chosen = _chosen(suites, data, only, limit)
        options = {"suites": suites, "data": data.name, "sets": only, "limit": limit, "llm": llm or ""}
        runs = kept_runs()
        kept = runs.get(resume) if resume else runs.begin(options)
        click.echo(f"Run {kept.name}", err=True)
        with Bars() as bars:
            limit_s = minutes * 60 if minutes else None
            meshes = _meshes(llm, address)
            await measure_all(chosen, kept, meshes, bars, concurrency=concurrency, limit_s=limit_s)
        figures = figures_of(kept.records())
        print_figures(figures, whole=False)
        if json_file:
            write(
                json_file,
                json.dumps(
                    {"run": kept.name, "options": kept.options, "figures": [asdict(one) for one in figures]}, indent=1
                )
                + "\n",
            )

    run(work)


def _chosen(names: Sequence[str], data: Path, only: Sequence[str], limit: int | None) -> list[Chosen]:
    from answermesh.errors import Failure, Reason, invalid_field
    from answermesh.evaluation.running import Chosen, limited
    from answermesh.evaluation.suites import NAMES, suite

    for name in names:
        if name not in (*NAMES, "all"):
            raise invalid_field("SUITE", f"{name!r} is none; there are {', '.join(NAMES)}, and all.")
    kinds = [suite(name) for name in NAMES if name in names or "all" in names]
    found = [
        Chosen(kind, limited(task, limit))
        for kind in kinds
        for task in kind.tasks(data)
        if not only or task.name in only
    ]
    if not found:
        raise Failure(
            Reason.NOT_FOUND, f"{data} has no set for {', '.join(names)}; docs/evaluation.md says what a set is."
        )
    return found


def _meshes(llm: str | None, address: str | None) -> Meshes:
    from answermesh.config import load
    from answermesh.errors import invalid_field
    from answermesh.evaluation.meshes import Meshes

    if address:
        return Meshes(corpora(), address=address)
    if llm is None:
        return Meshes(corpora())
    if llm == "local":
        return Meshes(corpora(), options=("--local-llm",))
    if llm.endswith(".gguf"):
        return Meshes(corpora(), options=("--gguf", str(Path(llm).absolute())))
    import os

    if llm not in [provider.get("name") for provider in load().providers]:
        raise invalid_field("--llm", f"{llm!r} is no provider of the settings file; name one, a GGUF file, or local.")
    return Meshes(corpora(), config=Path(os.environ["ANSWERMESH_CONFIG"]))


for _command in COMMANDS:
    evaluate.add_command(_command)
