"""HTML: the words that a browser would show, block by block."""

from __future__ import annotations

from collections.abc import Iterator

from bs4 import BeautifulSoup, NavigableString, Tag
from bs4.element import PreformattedString

from answermesh.knowledge.blocks import Kind, Parsed, Writer
from answermesh.knowledge.parsers.decoding import clean, decode

_UNSEEN = frozenset(
    """
    script style template noscript nav head svg math iframe object button select textarea
    """.split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    """
    address article aside blockquote body dd details div dl dt fieldset figcaption figure footer form header hr
    html li main ol p pre section summary table tbody tfoot thead tr ul
    """.split()
)


def parse(content: bytes, name: str) -> Parsed:
    soup = BeautifulSoup(decode(content), "lxml")
    title = clean(soup.title.get_text(" ")) if soup.title else ""
    writer = Writer()
    first_heading = ""
    for tag, text in _blocks(soup):
        if tag in _HEADINGS:
            writer.add_heading(text, _HEADINGS[tag])
            first_heading = first_heading or text
        elif tag == "pre":
            writer.add(text, Kind.CODE)
        else:
            line = " ".join(text.split())
            writer.add(
                f"- {line}" if tag == "li" and line else line,
                Kind.ITEM if tag in ("li", "tr") else Kind.TEXT,
                tight=tag in ("li", "tr"),
            )
    return writer.parsed(title or first_heading)


def _blocks(soup: BeautifulSoup) -> Iterator[tuple[str, str]]:
    """Runs of text with the innermost block they stand in. Without recursion: pages may be nested thousands deep."""
    pieces: list[str] = []
    open_blocks: list[str] = ["body"]
    # What is to do next, last first: a node to enter, or the end of a block.
    todo: list[NavigableString | Tag | str] = list(reversed(soup.contents))  # type: ignore[arg-type]  # page elements are one or the other
    while todo:
        node = todo.pop()
        if isinstance(node, Tag):
            if node.name in _UNSEEN:
                continue
            if node.name in _BLOCKS or node.name in _HEADINGS:
                # A row's cells stay together; all other blocks end what stands before them.
                yield open_blocks[-1], _joined(pieces)
                open_blocks.append(node.name)
                todo.append("end")
            elif node.name in ("td", "th"):
                pieces.append(" | " if any(map(str.strip, pieces)) else "")
            elif node.name == "br":
                pieces.append("\n")
            todo.extend(reversed(node.contents))  # type: ignore[arg-type]  # as above
        elif isinstance(node, NavigableString):
            if not isinstance(node, PreformattedString):
                pieces.append(str(node))
        else:
            yield open_blocks.pop(), _joined(pieces)
    yield "body", _joined(pieces)


def _joined(pieces: list[str]) -> str:
    text = clean("".join(pieces))
    pieces.clear()
    return text
