"""What language models are told: passages as data between delimiters that nobody can guess, and the house's prompts."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from answermesh.llm import Message


@cache
def prompt(name: str) -> str:
    """The text of `prompts/<name>.txt`."""
    return (files("answermesh.agents") / "prompts" / f"{name}.txt").read_text(encoding="utf-8").strip()


def grounded(name: str, question: str, sources: Iterable[str]) -> list[Message]:
    """The messages of a prompt over numbered sources.

    The delimiter is drawn anew for each call, so that no document can close its own frame and speak as the house.
    """
    mark = secrets.token_hex(8)
    framed = [f"<source-{mark} n={n}>\n{text.strip()}\n</source-{mark}>" for n, text in enumerate(sources, start=1)]
    system = prompt(name).replace("{mark}", mark)
    return [Message("system", system), Message("user", "\n".join([*framed, "", question]))]
