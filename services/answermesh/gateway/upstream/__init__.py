"""The gRPC side: calls to the services."""
