"""What the gateway tells of itself: counts for Prometheus, and the access log."""
