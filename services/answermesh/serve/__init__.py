"""Processes of the mesh: one service alone, and `up`, which supervises all of them on one machine."""
