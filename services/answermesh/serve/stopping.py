"""How a process learns that it shall stop: SIGINT or SIGTERM, and at once when told twice."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from answermesh.errors import Failure, Reason

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# From <sys/prctl.h>.
_PR_SET_PDEATHSIG = 1


@contextmanager
def reload_signal() -> Iterator[asyncio.Event]:
    """Within, an event that SIGHUP sets."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    try:
        yield asked
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Within, an event that the first signal sets; the second ends the process at once, with 128 + its number."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def die_with_parent(parent_pid: int) -> None:
    """Let the kernel send SIGTERM to this process when its parent dies, however that dies (Linux only).

    Raises Failure(WRONG_STATE) if the parent is gone already.
    """
    if sys.platform == "linux":
        # Set by the child itself: code between fork and exec is not safe in a parent that has threads.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent_pid:
        raise Failure(Reason.WRONG_STATE, f"The supervisor (process {parent_pid}) is gone; start the mesh again.")
