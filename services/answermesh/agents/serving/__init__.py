"""An agent as a service: its runs over streams of their own or shared, what waits to be sent, its lease."""
