"""The only door to Postgres: transactions of one tenant, named SQL, migrations, wake-ups, embedded server."""

from answermesh.store.postgres import EmbeddedPostgres
from answermesh.store.statements import Statements, statements
from answermesh.store.store import Store
from answermesh.store.transaction import Record, Transaction
from answermesh.store.vector import encode as encode_vector
from answermesh.store.wakeups import Wakeups

__all__ = ["EmbeddedPostgres", "Record", "Statements", "Store", "Transaction", "Wakeups", "encode_vector", "statements"]
