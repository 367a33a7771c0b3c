"""How agents are reached: who they are, their replicas, and the streams on which they run."""
