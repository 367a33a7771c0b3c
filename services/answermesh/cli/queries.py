"""`answermesh queries`: questions that were asked, and their answers."""

from __future__ import annotations

import click

from answermesh.cli.connect import address_option, find_address, run


@click.group()
def queries() -> None:
    """List, show, export, watch, cancel and delete queries."""


@queries.command("list")
@click.option("--filter", "filter_", default="", help="Terms joined by AND, e.g. 'state = FAILED'.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1), help="Queries to show at most.")
@click.option("--json", "as_json", is_flag=True, help="Print each query as one line of JSON.")
@address_option
def list_(filter_: str, limit: int, as_json: bool, address: str | None) -> None:
    """List queries, newest first.

    \b
    Example:
      answermesh queries list --filter 'state = RUNNING AND create_time >= "2026-01-01T00:00:00Z"'
    """

    async def work() -> None:
        from contextlib import aclosing

        from answermesh.cli.messages import to_json
        from answermesh.cli.printable import one_line
        from answermesh.cli.tables import moment, print_table
        from answermesh.client import Client
        from answermesh.client.members import name_of
        from answermesh.typed.answermesh import v1

        found: list[v1.Query] = []
        async with (
            Client(find_address(address)) as mesh,
            aclosing(mesh.list_queries(filter_, min(limit, 1000))) as all_,
        ):
            async for query in all_:
                found.append(query)
                if len(found) == limit:
                    break
        if as_json:
            for query in found:
                click.echo(to_json(query))
            return
        rows = [
            (q.name, name_of(q.state, v1.QueryState, "STATE_"), moment(q.create_time), one_line(q.question, 80))
            for q in found
        ]
        print_table(("NAME", "STATE", "ASKED", "QUESTION"), rows, empty="No queries.")

    run(work)


@queries.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--style",
    type=click.Choice(["markdown", "apa", "mla", "chicago", "bibtex"]),
    default="markdown",
    show_default=True,
    help="How sources are told.",
)
@address_option
def export(name: str, style: str, address: str | None) -> None:
    """Print the answer of the query NAME with its sources in the style of a manual.

    \b
    Example:
      answermesh queries export queries/… --style bibtex > sources.bib
    """

    async def work() -> None:
        from answermesh.cli.printable import printable
        from answermesh.cli.references import Cited, Reference, exported
        from answermesh.client import Client

        async with Client(find_address(address)) as mesh:
            query = await mesh.get_query(name)
        references: dict[Reference, int] = {}
        sentences = []
        for sentence in query.answer.sentences:
            cited = [
                Reference(one.document_title, one.uri, one.span.start, one.span.end, one.text)
                for one in sentence.citations
            ]
            places = tuple(references.setdefault(one, len(references)) for one in cited)
            sentences.append(Cited(sentence.text, places))
        click.echo(printable(exported(sentences, list(references), style, query.end_time.date())), nl=False)

    run(work)


@queries.command()
@click.argument("name", metavar="NAME")
@click.option("--json", "as_json", is_flag=True, help="Print the query as one line of JSON.")
@address_option
def show(name: str, as_json: bool, address: str | None) -> None:
    """Show the query NAME (queries/…) with its answer."""

    async def work() -> None:
        from rich.text import Text

        from answermesh.cli.answer_view import whole
        from answermesh.cli.messages import to_json
        from answermesh.cli.output import output
        from answermesh.cli.printable import printable
        from answermesh.cli.reading import Reading
        from answermesh.client import Client
        from answermesh.client.members import name_of
        from answermesh.typed.answermesh import v1

        async with Client(find_address(address)) as mesh:
            query = await mesh.get_query(name)
        if as_json:
            click.echo(to_json(query))
            return
        reading = Reading()
        reading.end(query)
        console = output()
        console.print(Text(printable(query.question), style="bold"))
        console.print(Text(f"{query.name}  {name_of(query.state, v1.QueryState, 'STATE_')}", style="dim"))
        console.print()
        console.print(whole(reading))

    run(work)


@queries.command()
@click.argument("name", metavar="NAME")
@click.option("--after", default=0, type=click.IntRange(0), help="Sequence of the last event already seen.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@click.option("--trace", is_flag=True, help="Print who did what when, then the answer.")
@address_option
def watch(name: str, after: int, as_json: bool, trace: bool, address: str | None) -> None:
    """Follow the query NAME to its end; a broken connection is resumed. Ctrl-C leaves the query running."""

    async def work() -> int:
        from answermesh.cli.follow import Style, follow
        from answermesh.cli.output import output
        from answermesh.client import Client

        style = Style.JSON if as_json else Style.TRACE if trace else Style.ANSWER
        async with Client(find_address(address)) as mesh:
            return await follow(mesh.watch(name, after), style, output())

    run(work)


@queries.command()
@click.argument("name", metavar="NAME")
@address_option
def cancel(name: str, address: str | None) -> None:
    """Stop the query NAME."""

    async def work() -> None:
        from answermesh.client import Client
        from answermesh.client.members import name_of
        from answermesh.typed.answermesh import v1

        async with Client(find_address(address)) as mesh:
            query = await mesh.cancel_query(name)
        click.echo(f"{query.name} is {name_of(query.state, v1.QueryState, 'STATE_')}.")

    run(work)


@queries.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@address_option
def delete(names: tuple[str, ...], address: str | None) -> None:
    """Delete queries that have ended, with their events and feedback."""

    async def work() -> None:
        from answermesh.client import Client

        async with Client(find_address(address)) as mesh:
            for name in names:
                await mesh.delete_query(name)
                click.echo(f"Deleted {name}.")

    run(work)
