"""Tables on the terminal, of texts that may come from anywhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from answermesh.cli.output import output
from answermesh.cli.printable import one_line

_EPOCH_YEAR = 1970


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows below their columns; `empty` where there are none. What is a number stands on the right."""
    listed = [[str(value) if not isinstance(value, str) else one_line(value) for value in row] for row in rows]
    console = output()
    if not listed:
        console.print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in listed:
        table.add_row(*(Text(value) for value in row))
    console.print(table)


def moment(time: datetime) -> str:
    """A time of a message in local time, "" for one that is unset."""
    return "" if time.year == _EPOCH_YEAR else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
