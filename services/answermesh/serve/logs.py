"""Logs of a service: one JSON object a line on stderr."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from answermesh.errors import invalid_field

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# What they log at info is not news of the mesh.
_CHATTY = ("asyncio", "httpx", "openai", "pypdf")


class JsonLines(logging.Formatter):
    """A record as {"time", "level", "service", "logger", "message"} and, after an exception, "exception"."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(service: str, level: str) -> None:
    """Send all logs of this process to stderr.

    Raises Failure(INVALID_FIELD) for a level that is none.
    """
    if level not in _LEVELS:
        raise invalid_field("log_level", f"is {level!r}; it must be one of {', '.join(_LEVELS)}.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(service))
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.WARNING))
