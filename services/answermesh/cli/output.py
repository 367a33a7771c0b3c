"""What is printed to: a terminal, whose width text is fitted to, or a pipe, in which a line is a line."""

from __future__ import annotations

from rich.console import Console

# Wider than any line; rich pads no text to it.
_PIPE_WIDTH = 100_000


def output() -> Console:
    """The console of stdout."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_PIPE_WIDTH)
