"""What grpclib raises, told as `Failure` with the mesh's own reason."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from google.rpc.status_pb2 import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from answermesh.errors import Failure, Reason
from answermesh.typed.google import rpc as typed_rpc


@contextmanager
def translated(address: str) -> Iterator[None]:
    """Raise a call's error as Failure; SERVICE_UNAVAILABLE where nothing that speaks gRPC answers at `address`."""
    try:
        yield
    except GRPCError as error:
        raise _failure_from(error) from error
    except TimeoutError as error:
        raise Failure(
            Reason.DEADLINE_EXCEEDED, f"The mesh at {address} did not answer in time; try again, or allow more time."
        ) from error
    except StreamTerminatedError as error:
        raise Failure(Reason.SERVICE_UNAVAILABLE, f"The connection to the mesh at {address} broke off.") from error
    except ProtocolError as error:
        raise Failure(Reason.SERVICE_UNAVAILABLE, f"What answers at {address} does not speak gRPC.") from error
    except AttributeError as error:
        # A connection that is lost between being chosen and opening a stream has no transport any more, and grpclib
        # stumbles over that.
        if error.name != "_transport":
            raise
        raise Failure(Reason.SERVICE_UNAVAILABLE, f"The connection to the mesh at {address} broke off.") from error
    except OSError as error:
        raise Failure(
            Reason.SERVICE_UNAVAILABLE, f"No mesh answers at {address}: {error.strerror or 'it cannot be reached'}."
        ) from error


def never_arrived(failure: Failure) -> bool:
    """Whether the call surely did not reach the mesh: nothing listens at the address."""
    return isinstance(failure.__cause__, ConnectionRefusedError | FileNotFoundError | socket.gaierror)


def failure_of(status: typed_rpc.Status) -> Failure:
    """The failure that a message of the mesh carries, such as `Query.error` or `AgentFailure.error`."""
    from answermesh.rpc.status import failure_from_status

    return failure_from_status(Status.FromString(bytes(status)))


def _failure_from(error: GRPCError) -> Failure:
    from answermesh.rpc.status import failure_from_status

    status = Status(code=error.status.value, message=error.message or "")
    for detail in error.details or ():
        # What grpclib has no type for comes as a bare object, and has nothing to tell.
        if hasattr(detail, "DESCRIPTOR"):
            status.details.add().Pack(detail)
    return failure_from_status(status)
