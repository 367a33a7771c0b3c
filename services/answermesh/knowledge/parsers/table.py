"""CSV and TSV: a block for each row, `column: value` for each of its cells."""

from __future__ import annotations

import csv
import io

from answermesh.knowledge.blocks import Kind, Parsed, UnreadableError, Writer
from answermesh.knowledge.parsers.decoding import decode

_SNIFFED_CHARS = 16_384
# The longest cell; the module's own 128 KiB refuses some honest exports.
_MAX_CELL_CHARS = 16 << 20


def parse(content: bytes, name: str) -> Parsed:
    text = decode(content)
    csv.field_size_limit(_MAX_CELL_CHARS)
    rows = csv.reader(io.StringIO(text, newline=""), _dialect(text))
    writer = Writer()
    header: list[str] = []
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [cell.strip() or f"column {index}" for index, cell in enumerate(row, start=1)]
                continue
            names = [*header, *(f"column {index}" for index in range(len(header) + 1, len(row) + 1))]
            cells = ((column, cell.strip()) for column, cell in zip(names, row, strict=False))
            writer.add("; ".join(f"{column}: {cell}" for column, cell in cells if cell), Kind.ITEM, tight=True)
    except csv.Error as error:
        raise UnreadableError(f"is not CSV from line {rows.line_num} on; check quotes and separators.") from error
    if header and not writer.blocks:
        writer.add("; ".join(header), Kind.ITEM)
    return writer.parsed("")


def _dialect(text: str) -> type[csv.Dialect]:
    try:
        return csv.Sniffer().sniff(text[:_SNIFFED_CHARS], delimiters=",;\t|")
    except csv.Error:
        # One column, or cells that confuse the guess: commas and double quotes are the standard (RFC 4180).
        return csv.excel
