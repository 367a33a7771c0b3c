"""Messages of the typed client as ProtoJSON, by the one writer of it that is right: google.protobuf.json_format."""

from __future__ import annotations

import json

from google.protobuf import json_format
from google.protobuf.message import Message

# Kinds of error details, known by name only once they are imported.
from google.rpc import error_details_pb2  # noqa: F401

from answermesh.client.members import Message as TypedMessage
from answermesh.v1 import document_pb2, document_service_pb2, finding_pb2, mesh_pb2, query_pb2

_MODULES = (query_pb2, finding_pb2, document_pb2, document_service_pb2, mesh_pb2)


def to_json(message: TypedMessage) -> str:
    """One line of JSON; ASCII only, so that a document's control characters reach no terminal."""
    name = type(message).__name__
    kind: type[Message] = next(getattr(module, name) for module in _MODULES if hasattr(module, name))
    return json.dumps(json_format.MessageToDict(kind.FromString(bytes(message))))
