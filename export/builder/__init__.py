"""The build: a graph of stages, each found again by the hash of everything it depends on."""
