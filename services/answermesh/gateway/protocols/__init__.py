"""How a call is spoken over HTTP: REST, gRPC-Web, Connect."""
