"""HTTP for gRPC services: REST by google.api.http, gRPC-Web and Connect, generic from descriptors.

answermesh.gateway.app("127.0.0.1:50051")      an ASGI application for the services at that address
"""

from answermesh.gateway.mounted import app
from answermesh.gateway.options import Options
from answermesh.gateway.plan import Resume

__all__ = ["Options", "Resume", "app"]
