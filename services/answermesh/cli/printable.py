"""Text of documents made safe for a terminal: an escape sequence in a source must move no cursor and set no title."""

from __future__ import annotations

import unicodedata

# Overrides of the writing direction, with which a text can be shown in another order than it is written in.
_DIRECTION = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C}
_KEPT = {"\n", "\t"}


def printable(text: str) -> str:
    """`text` with every control character but newline and tab shown as a sign for it; the length stays the same."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def one_line(text: str, max_chars: int = 0) -> str:
    """`text` on one line, its white space single spaces, cut with "…" after `max_chars` characters (0 = not)."""
    line = printable(" ".join(text.split()))
    return line if not max_chars or len(line) <= max_chars else line[: max_chars - 1].rstrip() + "…"


def _shown(character: str) -> str:
    if character in _KEPT:
        return character
    code = ord(character)
    # Unicode has a picture of each ASCII control character: ␛ for escape.
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if code in _DIRECTION or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return "\ufffd"
    return character
