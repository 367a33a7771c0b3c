"""Becomes the Postgres server, or initdb: a script of its own that the supervisor starts, never imported.

    python -I -S postgres_child.py JSON      {"parent", "folder", "socket_dir", "uid", "gid", "argv"}

Between fork and exec it goes into the cluster's folder while it still may, gives up root, asks the kernel for a signal
when its parent dies, and becomes `argv`. A script and not `preexec_fn`, because code of ours after a fork of a process
with threads (gRPC has some) can deadlock. On Linux "{folder}" and "{socket_dir}" in argv become paths below
/proc/self, which need no right to enter the folders above them: the cluster of root may lie under /root, which stays
0700.
"""

import ctypes
import json
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Replace this process; the supervisor reads what goes wrong in its exit code and the log."""
    order = json.loads(sys.argv[1])
    places = {"folder": order["folder"], "socket_dir": order["socket_dir"]}
    os.chdir(order["folder"])
    if sys.platform == "linux":
        # Postgres keeps its working directory, and this descriptor, for life.
        descriptor = os.open(order["socket_dir"], os.O_PATH | os.O_DIRECTORY)
        os.set_inheritable(descriptor, True)
        places = {"folder": "/proc/self/cwd", "socket_dir": f"/proc/self/fd/{descriptor}"}
    if order["uid"] is not None:
        os.setgroups([])
        os.setgid(order["gid"])
        os.setuid(order["uid"])
    os.umask(0o077)
    if sys.platform == "linux":
        # After setuid, which clears it. SIGINT is Postgres's fast shutdown: sessions end, data is safe.
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != order["parent"]:
            sys.exit("the supervisor died while its Postgres was starting")
    argv = [argument.format(**places) if argument.startswith("{") else argument for argument in order["argv"]]
    os.execv(argv[0], argv)  # noqa: S606 - the supervisor's own command


if __name__ == "__main__":
    main()
