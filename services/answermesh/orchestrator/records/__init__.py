"""What is kept of queries: events and their journal, leases and who holds them, and those who watch."""
