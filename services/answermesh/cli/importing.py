"""`answermesh import`: files and folders into the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from answermesh.cli import exits
from answermesh.cli.connect import address_option, find_address, run

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from answermesh.client import Client
    from answermesh.typed.answermesh import v1

# What folders are searched for; a file that is named itself is always sent.
SUFFIXES = frozenset(
    {".txt", ".text", ".log", ".rst", ".md", ".markdown", ".mdx", ".html", ".htm", ".xhtml"}
    | {".pdf", ".docx", ".json", ".jsonl", ".ndjson", ".csv", ".tsv"}
)


@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="Label of all of them, to search by.")
@address_option
def import_documents(paths: tuple[Path, ...], labels: tuple[str, ...], address: str | None) -> None:
    """Import files, and folders with all below them.

    Reads text, Markdown, HTML, PDF, DOCX, JSON, JSONL and CSV. Importing a file again changes nothing unless its
    content has changed. A file that cannot be read is reported and the others go on; the exit code is then 1.

    \b
    Examples:
      answermesh import ./docs
      answermesh import handbook.pdf notes/*.md --label team=core
    """

    async def work() -> int:
        from answermesh.client import Client

        async with Client(find_address(address)) as mesh:
            return await import_paths(mesh, paths, _pairs(labels))

    run(work)


def _pairs(labels: tuple[str, ...]) -> dict[str, str]:
    for label in labels:
        if "=" not in label:
            raise click.BadParameter(f"{label!r} is no KEY=VALUE.", param_hint="--label")
    return {key: value for key, _, value in (label.partition("=") for label in labels)}


async def import_paths(mesh: Client, paths: tuple[Path, ...], labels: Mapping[str, str] | None = None) -> int:
    """Import files and folders, tell how it goes and what became of them; the exit code."""
    files, skipped = collect(paths)
    if not files:
        named, known = ", ".join(map(str, paths)), " ".join(sorted(SUFFIXES))
        click.echo(f"No documents in {named}; known types: {known}.", err=True)
        return exits.FAILED
    return _summarise(await _import(mesh, files, labels), len(skipped))


def collect(paths: tuple[Path, ...]) -> tuple[list[Path], list[Path]]:
    """The files to send, and those of the folders that are of no known type; hidden ones are left out."""
    files: dict[Path, None] = {}
    skipped: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            files[path] = None
            continue
        for found in sorted(path.rglob("*")):
            if found.is_file() and not any(part.startswith(".") for part in found.relative_to(path).parts):
                (files if found.suffix.lower() in SUFFIXES else skipped)[found] = None
    return list(files), list(skipped)


async def _import(
    mesh: Client, files: list[Path], labels: Mapping[str, str] | None
) -> list[v1.ImportDocumentsResponse]:
    """Send the files under a bar that counts them, with a line for the one under way; the final outcome of each."""
    from contextlib import aclosing

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from answermesh.typed.answermesh import v1

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    outcomes: list[v1.ImportDocumentsResponse] = []
    console = Console(stderr=True, highlight=False)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        all_files = bars.add_task("files", total=len(files))
        current: dict[str, TaskID] = {}
        async with aclosing(mesh.import_paths(files, labels=labels)) as responses:
            async for response in responses:
                _show(response, bars, current)
                if response.outcome != v1.ImportDocumentsResponseOutcome.OUTCOME_PROGRESS:
                    outcomes.append(response)
                    bars.advance(all_files)
    return outcomes


def _show(response: v1.ImportDocumentsResponse, bars: Progress, current: dict[str, TaskID]) -> None:
    from rich.markup import escape
    from rich.text import Text

    from answermesh.cli.printable import one_line, printable
    from answermesh.client import failure_of
    from answermesh.typed.answermesh import v1

    uri = response.uri
    if response.outcome == v1.ImportDocumentsResponseOutcome.OUTCOME_PROGRESS:
        if uri not in current:
            current[uri] = bars.add_task(f"  {escape(one_line(uri, 50))}", total=response.passages_total or None)
        bars.update(current[uri], completed=response.passages_done, total=response.passages_total or None)
        return
    if uri in current:
        bars.remove_task(current.pop(uri))
    if response.outcome == v1.ImportDocumentsResponseOutcome.OUTCOME_FAILED:
        message = Text(f"Failed: {printable(failure_of(response.error).message)}", style="red")
        if not message.plain.count(one_line(uri)):
            message = Text(f"Failed: {one_line(uri)}: {printable(failure_of(response.error).message)}", style="red")
        if bars.disable:
            click.echo(message.plain, err=True)
        else:
            bars.console.print(message)


def _summarise(outcomes: list[v1.ImportDocumentsResponse], skipped_count: int) -> int:
    from collections import Counter

    from answermesh.client.members import name_of
    from answermesh.typed.answermesh import v1

    counts = Counter(name_of(one.outcome, v1.ImportDocumentsResponseOutcome, "OUTCOME_").lower() for one in outcomes)
    passages = sum(one.document.passage_count for one in outcomes if one.outcome in (1, 2))
    told = ", ".join(f"{counts[name]} {name}" for name in ("created", "updated", "unchanged", "failed") if counts[name])
    click.echo(f"{len(outcomes)} files: {told or 'nothing'}; {passages} passages stored.")
    if skipped_count:
        click.echo(f"{skipped_count} files of other types were left out; name one to import it nevertheless.")
    return exits.FAILED if counts["failed"] else exits.OK
