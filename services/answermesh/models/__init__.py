"""The embedded models behind ModelService: fetched once, loaded once, shared and batched for all callers."""
