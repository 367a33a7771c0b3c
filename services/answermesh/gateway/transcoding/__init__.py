"""JSON, paths and query parameters to protobuf, and back."""
