"""How long the store waits for Postgres, and Postgres for the store."""

from __future__ import annotations

from answermesh.rpc import deadline

# Role that every pool connection runs as: it owns nothing and row-level security binds it.
APP_ROLE = "answermesh_app"
SCHEMA = "answermesh"

# A statement without a caller's deadline. Import of one large document is the longest that is normal (a few seconds).
STATEMENT_TIMEOUT_S = 60.0
# A transaction that waits for its own process holds locks and the vacuum horizon, so it is cut. None spans an LLM call.
IDLE_IN_TRANSACTION_TIMEOUT_S = 30.0
# Waiting longer than this for a row lock means that somebody hangs.
LOCK_TIMEOUT_S = 10.0
# A free connection of the pool; beyond it the caller is told to come back.
ACQUIRE_TIMEOUT_S = 5.0
# Opening one connection: a local socket answers in milliseconds, a remote TLS server in well under a second.
CONNECT_TIMEOUT_S = 5.0
# Clean-up after an error or a cancellation: rollback, reset and closing. A connection that needs longer is dropped.
CLEAN_UP_TIMEOUT_S = 2.0
# A request to cancel may overtake the statement it is for, and is lost then; so a connection that was dropped for not
# getting clean must be noticed by the server, or its statement would hold its locks to the statement's time limit.
HANG_UP_CHECK_S = 1.0
# When a caller should try again: embedded Postgres is back within about a second of a crash.
RETRY_AFTER_S = 1.0


def bounded_s(timeout_s: float = STATEMENT_TIMEOUT_S) -> float:
    """The time for one exchange with Postgres, in seconds: `timeout_s`, or what the call's deadline leaves of it."""
    return deadline.bound_s(timeout_s)


def server_settings(
    search_path: str, *, hang_up_noticed: bool, idle_in_transaction_s: float = IDLE_IN_TRANSACTION_TIMEOUT_S
) -> dict[str, str]:
    """Settings that a connection is born with, so that neither RESET ALL nor RESET ROLE takes them away.

    `hang_up_noticed`: see prerequisites.can_notice_hang_up.
    """
    settings = {
        "application_name": "answermesh",
        "role": APP_ROLE,
        "search_path": search_path,
        # The server's limit stands behind the client's, which cancels first.
        "statement_timeout": _ms(STATEMENT_TIMEOUT_S + CLEAN_UP_TIMEOUT_S),
        "idle_in_transaction_session_timeout": _ms(idle_in_transaction_s),
        "lock_timeout": _ms(LOCK_TIMEOUT_S),
        # Statements are short; compiling them costs more than it gains.
        "jit": "off",
    }
    if hang_up_noticed:
        settings["client_connection_check_interval"] = _ms(HANG_UP_CHECK_S)
    return settings


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
