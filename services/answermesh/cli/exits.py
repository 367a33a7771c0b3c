"""Exit codes of the command line, and the failure that leads to each.

0    done
1    failed: the answer, a file of an import, a check of the doctor, a request that the mesh refused
2    usage: an unknown option, a value that is none
3    no mesh: nothing answers at the address, or none runs here
130  interrupted by Ctrl-C
"""

from __future__ import annotations

from answermesh.errors import Failure, Reason

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130


def exit_code(failure: Failure) -> int:
    """The exit code that a failure is told by."""
    return UNREACHABLE if failure.reason is Reason.SERVICE_UNAVAILABLE else FAILED
