"""`answermesh version`: what is installed."""

from __future__ import annotations

import importlib.metadata
import platform

import click


@click.command()
def version() -> None:
    """Print the version of answermesh and of Python."""
    click.echo(f"answermesh {importlib.metadata.version('answermesh')} (Python {platform.python_version()})")
