"""What `eval` looks at afterwards: runs listed, shown, compared, reported, forgotten."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from answermesh.cli.connect import run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from answermesh.evaluation.records import Runs
    from answermesh.evaluation.suite import Record
    from answermesh.evaluation.summary import Figures


@click.command("list")
def list_() -> None:
    """List runs, newest first."""
    from answermesh.cli.tables import print_table

    rows = [
        (
            one.name,
            one.started,
            " ".join(one.options.get("suites", ())),
            str(one.options.get("limit") or ""),
            one.options.get("llm", ""),
            str(len(one.records())),
        )
        for one in kept_runs()
    ]
    print_table(("RUN", "STARTED", "SUITES", "LIMIT", "LLM", "ITEMS"), rows, empty="Nothing was evaluated yet.")


@click.command()
@click.argument("name", metavar="RUN", default="last")
@click.option("--suite", help="Only this suite.")
@click.option("--set", "task", help="Only this set.")
@click.option("--metric", help="Worst by this metric; the suite's first one otherwise.")
@click.option("--worst", default=0, metavar="N", type=click.IntRange(0), help="Show the N worst items of each set.")
@click.option("--json", "as_json", is_flag=True, help="Print each of those items, or of all, as one line of JSON.")
def show(name: str, suite: str | None, task: str | None, metric: str | None, worst: int, as_json: bool) -> None:
    """Show the figures of RUN, or its worst items."""

    async def work() -> None:
        records = [
            record
            for record in kept_runs().get(name).records()
            if suite in (None, record.suite) and task in (None, record.task)
        ]
        picked = _worst(records, metric, worst) if worst else records
        if as_json:
            for record in picked:
                click.echo(json.dumps(asdict(record)))
        elif worst:
            _print_records(picked)
        else:
            print_figures(figures_of(records), whole=True)

    run(work)


@click.command()
@click.argument("first")
@click.argument("second", default="last")
def compare(first: str, second: str) -> None:
    """Compare two runs over the items that both measured: SECOND minus FIRST, and how likely that is chance."""

    async def work() -> None:
        from answermesh.cli.tables import print_table
        from answermesh.evaluation.summary import compared

        runs = kept_runs()
        rows = [
            (
                suite,
                task,
                metric,
                str(one.mean.n),
                f"{one.mean.value:+.4f}",
                f"[{one.mean.low:+.4f}, {one.mean.high:+.4f}]",
                f"{one.p:.4f}",
            )
            for (suite, task), metrics in compared(runs.get(first).records(), runs.get(second).records()).items()
            for metric, one in metrics.items()
        ]
        print_table(("SUITE", "SET", "METRIC", "ITEMS", "CHANGE", "95 %", "P"), rows, empty="No item is in both.")

    run(work)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN…")
@click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A .md or .html file.")
@click.option(
    "--about", type=click.Path(exists=True, path_type=Path, dir_okay=False), help="Text to open the report with."
)
def report(names: tuple[str, ...], output: Path, about: Path | None) -> None:
    """Write a report of RUNs with plots: Markdown, with the plots in a folder beside it, or HTML.

    Of an item in several runs, that of the last one named counts.
    """

    async def work() -> None:
        from answermesh.evaluation import report as written
        from answermesh.evaluation.suites import suites

        runs = kept_runs()
        # Of an item in several runs, the last one named counts.
        latest = {(one.suite, one.task, one.item): one for name in names for one in runs.get(name).records()}
        records = list(latest.values())
        kinds, figures = suites(dict.fromkeys(record.suite for record in records)), figures_of(records)
        opening = _lines(about)
        if output.suffix == ".html":
            write(output, written.html(figures, kinds, opening))
            return
        for file, drawn in written.plots(figures, kinds).items():
            write(output.parent / output.stem / file, drawn)
        write(output, written.markdown(figures, kinds, opening, output.stem))

    run(work)


@click.command()
@click.argument("names", nargs=-1, metavar="RUN…")
@click.option("--corpora", "and_corpora", is_flag=True, help="Also delete the meshes that hold the sets' documents.")
def forget(names: tuple[str, ...], and_corpora: bool) -> None:
    """Delete RUNs, or the kept meshes."""

    async def work() -> None:
        import shutil

        runs = kept_runs()
        for name in names:
            runs.forget(name)
        if and_corpora:
            shutil.rmtree(corpora(), ignore_errors=True)

    run(work)


COMMANDS = (list_, show, compare, report, forget)


def kept_runs() -> Runs:
    from answermesh.config import load
    from answermesh.evaluation.records import Runs

    return Runs(load().data_dir / "evaluations")


def corpora() -> Path:
    from answermesh.config import load

    return load().cache_dir / "evaluation"


def figures_of(records: Sequence[Record]) -> list[Figures]:
    from answermesh.evaluation.suites import suites
    from answermesh.evaluation.summary import figures

    return figures(records, suites(dict.fromkeys(record.suite for record in records)))


def print_figures(figures: Sequence[Figures], *, whole: bool) -> None:
    from answermesh.cli.tables import print_table
    from answermesh.evaluation.report import tables
    from answermesh.evaluation.suites import suites

    for suite, (head, *rows) in tables(figures, suites([one.suite for one in figures]), whole=whole):
        click.echo(f"{suite}")
        print_table(head, rows, empty="Nothing was measured.")
        click.echo()


def _worst(records: Sequence[Record], metric: str | None, count: int) -> list[Record]:
    """The items that failed, then those with the lowest value, of each task."""
    from answermesh.evaluation.suites import suites

    kinds = suites(dict.fromkeys(record.suite for record in records))
    tasks: dict[tuple[str, str], list[tuple[float, Record]]] = {}
    for record in records:
        headline = kinds[record.suite].headline if record.suite in kinds else ()
        by = metric or next((name for name in headline if name in record.metrics), "")
        if record.error or by in record.metrics:
            value = float("-inf") if record.error else record.metrics[by]
            tasks.setdefault((record.suite, record.task), []).append((value, record))
    return [record for of in tasks.values() for _, record in sorted(of, key=lambda pair: pair[0])[:count]]


def _print_records(records: Sequence[Record]) -> None:
    from answermesh.cli.printable import one_line

    for record in records:
        values = " ".join(f"{name} {value:.3f}" for name, value in record.metrics.items())
        click.secho(f"{record.suite} {record.task} {one_line(record.item)}  {record.error or values}", bold=True)
        for name, value in record.details.items():
            click.echo(
                f"  {name}: {one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 600)}"
            )


def _lines(path: Path | None) -> list[str]:
    return path.read_text(encoding="utf-8").strip().splitlines() if path else []


def write(path: Path, text: str) -> None:
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
