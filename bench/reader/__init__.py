"""Trains the reader: the upper half of a cross-encoder that finds the piece of a text which answers a question."""
