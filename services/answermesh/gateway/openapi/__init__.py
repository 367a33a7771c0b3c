"""What the gateway tells about the services: OpenAPI and its page."""
