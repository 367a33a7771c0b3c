"""The embedded models behind ModelService: fetched once, loaded once, shared by all callers."""
