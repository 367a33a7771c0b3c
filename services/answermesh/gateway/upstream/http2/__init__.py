"""An HTTP/2 client for gRPC: see client.Http2Upstream."""

from answermesh.gateway.upstream.http2.client import Http2Upstream
from answermesh.gateway.upstream.http2.options import MESH_KEEPALIVE, Http2Options, Keepalive
from answermesh.gateway.upstream.http2.tls import client_context

__all__ = ["MESH_KEEPALIVE", "Http2Options", "Http2Upstream", "Keepalive", "client_context"]
