"""The networks: one file each, its name is the registry name."""
