"""`answermesh documents`: what is imported."""

from __future__ import annotations

import click

from answermesh.cli.connect import address_option, find_address, run


@click.group()
def documents() -> None:
    """List, show and delete imported documents."""


@documents.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print each document as one line of JSON.")
@address_option
def list_(as_json: bool, address: str | None) -> None:
    """List all documents, by uri."""

    async def work() -> None:
        from answermesh.cli.messages import to_json
        from answermesh.cli.tables import moment, print_table
        from answermesh.client import Client

        async with Client(find_address(address)) as mesh:
            found = [document async for document in mesh.list_documents(1000)]
        if as_json:
            for document in found:
                click.echo(to_json(document))
            return
        rows = [(d.name, d.uri, d.title, d.passage_count, d.size_bytes, moment(d.update_time)) for d in found]
        columns = ("NAME", "URI", "TITLE", "PASSAGES", "BYTES", "CHANGED")
        print_table(columns, rows, empty="No documents. Import some with `answermesh import PATH`.")

    run(work)


@documents.command()
@click.argument("name", metavar="NAME")
@click.option("--text", is_flag=True, help="Print the document's text instead, as spans count it.")
@address_option
def show(name: str, text: bool, address: str | None) -> None:
    """Show the document NAME (documents/…)."""

    async def work() -> None:
        from answermesh.cli.printable import printable
        from answermesh.cli.tables import moment, print_table
        from answermesh.client import Client

        async with Client(find_address(address)) as mesh:
            document = await mesh.get_document(name, full=text)
        if text:
            click.echo(printable(document.text))
            return
        rows = [
            ("name", document.name),
            ("uri", document.uri),
            ("title", document.title),
            ("media type", document.media_type),
            ("bytes", document.size_bytes),
            ("SHA-256", document.content_hash),
            ("characters", document.character_count),
            ("passages", document.passage_count),
            ("imported", moment(document.create_time)),
            ("changed", moment(document.update_time)),
        ]
        print_table(("FIELD", "VALUE"), rows, empty="")

    run(work)


@documents.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@address_option
def delete(names: tuple[str, ...], address: str | None) -> None:
    """Delete documents with their passages."""

    async def work() -> None:
        from answermesh.client import Client

        async with Client(find_address(address)) as mesh:
            for name in names:
                await mesh.delete_document(name)
                click.echo(f"Deleted {name}.")

    run(work)
