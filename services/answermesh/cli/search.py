"""`answermesh search`: the passages most relevant to a query."""

from __future__ import annotations

import click

from answermesh.cli.connect import address_option, find_address, run


@click.command()
@click.argument("query")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 100), help="Passages to show at most.")
@click.option("--document", "documents", multiple=True, metavar="NAME", help="Search this document only; repeatable.")
@click.option("--filter", "filter_", default="", help="Documents to search, e.g. 'labels.team = \"core\"'.")
@click.option("--rerank", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print each passage as one line of JSON.")
@address_option
def search(
    query: str, limit: int, documents: tuple[str, ...], filter_: str, rerank: str, as_json: bool, address: str | None
) -> None:
    """Find the passages most relevant to QUERY, best first.

    \b
    Example:
      answermesh search --limit 3 "compaction"
    """

    async def work() -> None:
        from answermesh.client import Client
        from answermesh.typed.answermesh import v1

        async with Client(find_address(address)) as mesh:
            chosen = v1.SearchPassagesRequestRerank.from_string(f"RERANK_{rerank.upper()}")
            passages = await mesh.search(query, limit=limit, documents=documents, rerank=chosen, filter=filter_)
        if as_json:
            from answermesh.cli.messages import to_json

            for passage in passages:
                click.echo(to_json(passage))
            return
        _print(passages)

    run(work)


def _print(passages: list) -> None:  # type: ignore[type-arg]
    from rich.text import Text

    from answermesh.cli.output import output
    from answermesh.cli.printable import one_line

    console = output()
    for rank, passage in enumerate(passages, 1):
        head = Text(f"{rank}. ", style="cyan").append(
            one_line(passage.document_title or passage.uri), style="bold not dim"
        )
        if passage.headings:
            head.append(" › " + one_line(" › ".join(passage.headings)))
        head.append(f"  {one_line(passage.uri)}:{passage.span.start}-{passage.span.end}", style="dim")
        console.print(head.append(f"  {passage.score:.3f}", style="dim"))
        console.print(Text(f"   {one_line(passage.text, 320)}"))
    if not passages:
        console.print("Nothing found. `answermesh documents list` shows what is imported.")
