"""Whether protobuf-py runs natively: without its compiled part it is thirty times slower, which nobody would notice."""

from __future__ import annotations

import logging

from protobuf import _native_message


def is_native() -> bool:
    """Whether JSON is converted by compiled code."""
    return _native_message.NativeMessageClass is not None


def check_native(log: logging.Logger) -> None:
    """Warn, loudly, if it is not."""
    if not is_native():
        log.warning(
            "protobuf-py runs without its native part: JSON is converted about 30 times slower; "
            "install protobuf-py-ext for this platform"
        )
