"""A query's events brought to the terminal while they come: as a growing answer, a trace, or lines of JSON."""

from __future__ import annotations

import enum
from collections.abc import AsyncGenerator
from contextlib import aclosing

import click
from rich.console import Console
from rich.live import Live

from answermesh.cli import exits
from answermesh.cli.answer_view import tail_of, whole
from answermesh.cli.reading import Reading
from answermesh.typed.answermesh import v1

_REDRAWS_PER_SECOND = 12


class Style(enum.Enum):
    """How events are shown."""

    ANSWER = enum.auto()
    TRACE = enum.auto()
    JSON = enum.auto()


async def follow(events: AsyncGenerator[v1.QueryEvent, None], style: Style, console: Console) -> int:
    """Show all events; the exit code that the query's end calls for.

    On a terminal the text grows as it is written, and its marks appear where they belong; at the end the finished
    answer stays. Elsewhere only the finished answer is printed. Closes `events`, also when cancelled.
    """
    reading = Reading()
    async with aclosing(events):
        match style:
            case Style.JSON:
                await _as_json(events, reading)
            case Style.TRACE:
                await _as_trace(events, reading, console)
            case Style.ANSWER:
                await _as_answer(events, reading, console)
    return ended(reading.query)


def ended(query: v1.Query | None) -> int:
    """The exit code that a query's final state calls for."""
    has_answer = query is not None and query.state in (v1.QueryState.STATE_SUCCEEDED, v1.QueryState.STATE_PARTIAL)
    return exits.OK if has_answer else exits.FAILED


async def _as_json(events: AsyncGenerator[v1.QueryEvent, None], reading: Reading) -> None:
    from answermesh.cli.messages import to_json

    async for event in events:
        reading.add(event)
        click.echo(to_json(event))


async def _as_trace(events: AsyncGenerator[v1.QueryEvent, None], reading: Reading, console: Console) -> None:
    from answermesh.cli.trace import Trace

    trace = Trace()
    async for event in events:
        reading.add(event)
        click.echo(trace.line(event))
    console.print()
    console.print(whole(reading))


async def _as_answer(events: AsyncGenerator[v1.QueryEvent, None], reading: Reading, console: Console) -> None:
    if not console.is_terminal:
        async for event in events:
            reading.add(event)
    else:
        # Transient: what is shown while it grows makes room for the finished answer.
        with Live(console=console, transient=True, refresh_per_second=_REDRAWS_PER_SECOND) as live:
            async for event in events:
                reading.add(event)
                live.update(tail_of(reading, console))
    console.print(whole(reading))
