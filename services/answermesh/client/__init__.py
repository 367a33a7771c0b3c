"""The typed async client of a mesh, over betterproto and grpclib.

async with Client("127.0.0.1:50051") as mesh:
    async with aclosing(mesh.ask("How does Raft elect a leader?")) as events:
        async for event in events:
            ...
"""

from answermesh.client.faults import failure_of
from answermesh.client.mesh import Client

__all__ = ["Client", "failure_of"]
