"""`answermesh ask`: a question, and its answer while it is written."""

from __future__ import annotations

import click

from answermesh.cli.connect import address_option, find_address, run


@click.command()
@click.argument("question")
@click.option("--plan", default="", help="Plan to answer by.  [default: default]")
@click.option("--timeout", "timeout_s", type=click.FloatRange(0.1, 600), help="Seconds that the answer may take.")
@click.option(
    "--document", "documents", multiple=True, metavar="NAME", help="Answer from this document only; repeatable."
)
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    help="Say that the documents do not answer below this probability that they do.  [default: 0.3]",
)
@click.option("--session", default="", metavar="NAME", help="Conversation, of any name: what is meant by “it”.")
@click.option("--drop-unsupported", is_flag=True, help="Leave out sentences that no source supports.")
@click.option(
    "--priority",
    type=click.Choice(["critical", "interactive", "batch"]),
    default="interactive",
    show_default=True,
    help="Who goes first when there is more to do than can be done.",
)
@click.option("--ephemeral", is_flag=True, help="Store nothing: faster, and lost if it breaks off.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as one line of JSON.")
@click.option("--trace", is_flag=True, help="Print who did what when, then the answer.")
@address_option
def ask(
    question: str,
    plan: str,
    timeout_s: float | None,
    documents: tuple[str, ...],
    min_confidence: float | None,
    drop_unsupported: bool,
    session: str,
    priority: str,
    ephemeral: bool,
    as_json: bool,
    trace: bool,
    address: str | None,
) -> None:
    """Answer QUESTION from the imported documents.

    The text appears as it is written. Each sentence is followed by the numbers of its sources and by the outcome of its
    check: ✓ a source states it, ✗ a source states the contrary, ? the sources do not settle it, – not checked. Ctrl-C
    cancels the query.

    \b
    Examples:
      answermesh ask "How does etcd elect a leader?"
      answermesh ask --trace "What is a learner?"
      answermesh ask --json "What is a lease?" | jq .finding
    """
    if as_json and trace:
        raise click.UsageError("--json and --trace exclude each other.")

    async def work() -> int:
        from answermesh.cli.follow import Style, follow
        from answermesh.cli.output import output
        from answermesh.client import Client
        from answermesh.typed.answermesh import v1

        style = Style.JSON if as_json else Style.TRACE if trace else Style.ANSWER
        async with Client(find_address(address)) as mesh:
            events = mesh.ask(
                question,
                plan=plan,
                timeout_s=timeout_s,
                documents=documents,
                min_confidence=min_confidence,
                drop_unsupported=drop_unsupported,
                session=session,
                priority=v1.QueryPriority.from_string(f"PRIORITY_{priority.upper()}"),
                ephemeral=ephemeral,
            )
            return await follow(events, style, output())

    run(work)
