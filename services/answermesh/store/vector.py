"""pgvector's `vector`, in its binary form: numpy arrays or lists of floats go in, numpy float32 arrays come out.

numpy is loaded with the first vector: an orchestrator has none, and would be half as long again in starting.

The form is that of pgvector's vector_send: two 16-bit integers, the dimension and zero, then big-endian float32 values.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_HEADER = struct.Struct(">HH")
# pgvector's VECTOR_MAX_DIM.
MAX_DIMENSION = 16_000


def encode(value: NDArray[np.float32] | Sequence[float] | bytes) -> bytes:
    """The wire form of one vector; a wire form stays as it is.

    An argument of type `vector[]` needs its elements encoded by this first: asyncpg would take arrays or lists within a
    list for further axes of the outer one.
    Raises ValueError unless it has one axis and 1 to 16000 values; Postgres itself refuses NaN and infinity.
    """
    import numpy as np

    if isinstance(value, bytes):
        return value
    values = np.asarray(value, dtype=">f4")
    if values.ndim != 1 or not 1 <= values.size <= MAX_DIMENSION:
        raise ValueError(f"a vector has one axis of 1 to {MAX_DIMENSION} values, not shape {values.shape}")
    return _HEADER.pack(values.size, 0) + values.tobytes()


def decode(wire: bytes) -> NDArray[np.float32]:
    """The vector of a wire form, a float32 array that the caller owns."""
    import numpy as np

    return np.frombuffer(wire, dtype=">f4", offset=_HEADER.size).astype(np.float32)


async def add_codec(connection: asyncpg.Connection[asyncpg.Record], schema: str) -> None:
    """Teach a connection the type `vector` of that schema, and with it `vector[]`."""
    await connection.set_type_codec("vector", schema=schema, encoder=encode, decoder=decode, format="binary")


async def schema(connection: asyncpg.Connection[asyncpg.Record]) -> str:
    """The schema that the type `vector` lives in; an administrator may have chosen any."""
    found = await connection.fetchval(
        "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = 'vector'"
    )
    assert isinstance(found, str), "the prerequisites install it"
    return found
