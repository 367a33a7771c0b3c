"""Path templates, and which rule a path leads to."""
