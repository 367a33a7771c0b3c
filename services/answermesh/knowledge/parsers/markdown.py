"""Markdown: the text is the file's own, so that spans are spans in the file; headings, lists, tables and code are
blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from answermesh.knowledge.blocks import Block, Kind, Parsed
from answermesh.knowledge.parsers.decoding import decode

_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\r?\n(.*?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_TITLE = re.compile(r"^title\s*[:=]\s*[\"']?(.*?)[\"']?\s*$", re.MULTILINE)
_KINDS = {
    "paragraph_open": Kind.TEXT,
    "blockquote_open": Kind.TEXT,
    "html_block": Kind.TEXT,
    "hr": Kind.TEXT,
    "fence": Kind.CODE,
    "code_block": Kind.CODE,
    "table_open": Kind.TABLE,
}
_MARKUP = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|\s*\{#[^}]*\}|[`*]|<[^>]*>")


def parse(content: bytes, name: str) -> Parsed:
    text = decode(content)
    front = _FRONT_MATTER.match(text)
    title = (_TITLE.search(front[2]) if front else None) or [None, ""]
    body = text
    if front:
        # Blanked, not cut off, so that lines and positions stay those of the file.
        body = re.sub(r"[^\r\n]", " ", front.group()) + text[front.end() :]
    starts = _line_starts(body)
    blocks: list[Block] = [Block(0, Kind.TEXT)] if front else []
    headings: list[tuple[int, str]] = []
    first_heading = ""
    # Only "\n" ends a line for us, so that line numbers are the parser's: it also takes "\r\n" and "\r" for one.
    for token, label in _tokens(body):
        assert token.map is not None
        start = starts[min(token.map[0], len(starts) - 1)]
        kind = _KINDS.get(token.type, Kind.ITEM)
        if token.type == "heading_open":
            level, kind = int(token.tag[1:]), Kind.HEADING
            label = " ".join(_MARKUP.sub(r"\1", label).split())[:200]
            headings = [(above, one) for above, one in headings if above < level] + [(level, label)]
            first_heading = first_heading or label
        if not blocks or start > blocks[-1].start:
            blocks.append(Block(start, kind, tuple(one for _, one in headings if one)))
    return Parsed(text, str(title[1]) or first_heading, tuple(blocks))


def _tokens(body: str) -> Iterator[tuple[Token, str]]:
    """The tokens that open blocks, each with its inline text: those of the top level, and the items of top-level
    lists."""
    tokens = MarkdownIt("commonmark").enable("table").parse(body)
    for index, token in enumerate(tokens):
        is_item = token.type == "list_item_open" and token.level == 1
        is_list = token.type in ("bullet_list_open", "ordered_list_open")
        if token.map and (is_item or (token.level == 0 and token.nesting >= 0 and not is_list)):
            inline = tokens[index + 1].content if token.type == "heading_open" else ""
            yield token, inline


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer(r"\r\n|\n|\r", text))]
