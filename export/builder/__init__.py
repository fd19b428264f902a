"""The build: a graph of stages, each cached under the hash of everything that it depends on."""
