"""What a language model writes, made harmless to whoever shows it: no link, image or markup.

An answer is shown by programs that turn Markdown or HTML into pages. An image in it would be fetched at once, with
whatever its address tells; so none may come from a model, which may have it from a document. No I/O.
"""

from __future__ import annotations

import re

REMOVED = "(link removed)"

_URL = re.compile(
    r"(?:https?|ftp)://[^\s<>\"'`)\]]+|\bwww\.[^\s<>\"'`)\]]+|\b(?:javascript|data|vbscript):\S+", re.IGNORECASE
)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
# The end of a text that may go on to be one of these, or a link in Markdown.
_OPEN = re.compile(r"(?:[\]<]|\S*(?:://|www\.|javascript:|vbscript:|data:)\S*|\S+)\Z", re.IGNORECASE)


def neutral(text: str, sources: str) -> str:
    """The text without markup: links and images are words, tags are quotation marks, addresses are those of sources.

    An address that does not stand in `sources` is removed. Applied twice, it changes nothing more.
    """
    shown = _URL.sub(lambda found: found.group() if found.group().rstrip(".,;:!?") in sources else REMOVED, text)
    return _TAG.sub("‹", shown.replace("](", "] (").replace("]:", "] :"))


def whole(text: str) -> int:
    """How many characters from the front can be judged already; what follows may be the start of something."""
    match = _OPEN.search(text)
    return match.start() if match else len(text)
