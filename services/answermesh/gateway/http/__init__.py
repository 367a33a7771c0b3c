"""The HTTP side: one request and its answer, and the server."""
