"""Bytes as text: UTF-8 and UTF-16 by their marks, else UTF-8, else the likeliest of the older encodings."""

from __future__ import annotations

import codecs

from charset_normalizer import from_bytes

from answermesh.knowledge.blocks import UnreadableError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Guessing reads a sample; more of it makes it slower, not better.
_SAMPLE_BYTES = 256 * 1024


def decode(content: bytes) -> str:
    """The text, without a byte-order mark, with line ends as they are. NUL, which Postgres cannot store, becomes
    U+FFFD.

    Raises UnreadableError where no encoding gives text.
    """
    text = _decode(content)
    return text.replace("\0", "\ufffd")


def _decode(content: bytes) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return _strictly(content[len(mark) :], encoding)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        encoding = _likeliest(content[:_SAMPLE_BYTES])
    if not encoding:
        raise UnreadableError("is not text in any known encoding; save it as UTF-8.")
    # The sample may cut a character; what it could not show is replaced rather than refused.
    return content.decode(encoding, errors="replace")


def _likeliest(sample: bytes) -> str:
    """The likeliest encoding, or "".

    Short texts fit many alike; of these the commonest, Windows' Western one, is preferred.
    """
    found = from_bytes(sample)
    best = found.best()
    if best is None:
        return ""
    alike = [one for one in found if (one.chaos, one.coherence) == (best.chaos, best.coherence)]
    return "cp1252" if any("cp1252" in one.could_be_from_charset for one in alike) else best.encoding


def _strictly(content: bytes, encoding: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"says that it is {encoding} but is not, from byte {error.start} on; save it as UTF-8."
        ) from error


def clean(text: str) -> str:
    """`text` with what cannot be stored or sent (NUL, halves of surrogate pairs) replaced by U+FFFD, one for one."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return (
        text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").replace("\0", "\ufffd")
        if _is_odd(text)
        else text
    )


def _is_odd(text: str) -> bool:
    return "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)
