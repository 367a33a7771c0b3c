"""The orchestrator: opens a stream to every agent of a plan at once, and lets findings flow between them."""
