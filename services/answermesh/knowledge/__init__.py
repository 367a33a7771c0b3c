"""Documents: parsed, cut into passages, embedded, indexed, searched, and joined by a graph of entities."""
