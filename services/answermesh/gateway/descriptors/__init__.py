"""What the gateway knows of a service: its descriptors, from a file or by reflection."""
