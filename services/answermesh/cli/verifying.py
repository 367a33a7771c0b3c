"""`answermesh verify`: whether texts or the documents support claims."""

from __future__ import annotations

from pathlib import Path

import click

from answermesh.cli.connect import address_option, find_address, run


@click.command()
@click.argument("claims", nargs=-1, required=True)
@click.option(
    "--evidence",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Check against this text file instead of the documents; repeatable.",
)
@click.option("--document", "documents", multiple=True, metavar="NAME", help="Search this document only; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print each verdict as one line of JSON.")
@address_option
def verify(
    claims: tuple[str, ...], evidence: tuple[Path, ...], documents: tuple[str, ...], as_json: bool, address: str | None
) -> None:
    """Say for each of CLAIMS whether it is supported: ✓ it is, ✗ the contrary is stated, ? neither.

    \b
    Examples:
      answermesh verify "A learner votes." "A cluster of five members tolerates two failures."
      answermesh verify --evidence report.txt "Sales rose by 4 %."
    """

    async def work() -> None:
        from rich.text import Text

        from answermesh.cli.answer_view import verdict_mark
        from answermesh.cli.messages import to_json
        from answermesh.cli.output import output
        from answermesh.cli.printable import one_line
        from answermesh.client import Client

        texts = [path.read_text(encoding="utf-8", errors="replace") for path in evidence]
        async with Client(find_address(address)) as mesh:
            told = await mesh.verify_claims(claims, evidence=texts, documents=documents)
        console = output()
        for one in told:
            if as_json:
                click.echo(to_json(one))
                continue
            verdict = one.verdict
            mark, style = verdict_mark(verdict)
            console.print(Text(f"{mark} ", style=style).append(one_line(one.claim), style="bold not dim"))
            console.print(Text(f"  {one_line(verdict.rationale)} ({verdict.confidence:.2f})", style="dim"))
            if verdict.evidence.text:
                place = verdict.evidence.span
                where = verdict.evidence.uri or str(evidence[one.evidence_index or 0])
                console.print(
                    Text(f"  {one_line(where)}:{place.start}-{place.end}  {one_line(verdict.evidence.text, 320)}")
                )

    run(work)
