"""The process that reads files: one request after the other, from its standard input to its standard output.

A file may be made to exhaust or crash its reader, so the reader is a process of its own, with bounded memory and
processor time. It is started by knowledge.pool and ends when its input does. What it answers is JSON: nothing in it is
executed.

    request   4 bytes length of the header, header {"name", "media_type", "size_bytes"}, then the file's bytes
    answer    4 bytes length, then {"reading": …} or {"unreadable": "what is wrong and what to do"}
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from typing import BinaryIO

import orjson

from answermesh.knowledge.blocks import UnreadableError
from answermesh.knowledge.reading import read

# Address space: 64 MiB of input, its text, its tree and the interpreter fit; an archive bomb does not.
MEMORY_BYTES = 2 << 30
# Processor time of one file. The parsers read a few megabytes a second.
CPU_S = 90


def main() -> None:
    """Serve until the input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # pypdf warns of every oddity of a file.
    logging.disable(logging.ERROR)
    # Parsers may print; what they print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests = sys.stdin.buffer
    while header := requests.read(4):
        request = orjson.loads(_exactly(requests, int.from_bytes(header, "big")))
        answer = _answer(_exactly(requests, request["size_bytes"]), request["name"], request["media_type"])
        answers.write(len(answer).to_bytes(4, "big"))
        answers.write(answer)
        answers.flush()


def _answer(content: bytes, name: str, media_type: str) -> bytes:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    limit_s = int(usage.ru_utime + usage.ru_stime) + CPU_S
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.RLIM_INFINITY))
    try:
        return orjson.dumps({"reading": read(content, name, media_type)})
    except UnreadableError as error:
        return orjson.dumps({"unreadable": str(error)})
    except MemoryError:
        return orjson.dumps({"unreadable": f"needs more than {MEMORY_BYTES >> 20} MiB of memory to be read; split it."})


def _exactly(stream: BinaryIO, size_bytes: int) -> bytes:
    content = stream.read(size_bytes)
    if len(content) < size_bytes:
        # The service has gone.
        sys.exit(0)
    return content


if __name__ == "__main__":
    main()
