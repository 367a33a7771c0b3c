"""What this process costs: processor time, memory, open files."""

from __future__ import annotations

import os
import time
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_s() -> float:
    """User and system time so far."""
    return time.process_time()


def resident_bytes() -> int:
    """Memory in use; 0 where the system has no /proc."""
    try:
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def open_files() -> int:
    """Open descriptors; 0 where the system has no /proc."""
    try:
        # One of them is that of the listing.
        return len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - names alone, no Path of each
    except OSError:
        return 0
