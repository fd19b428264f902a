"""Which layer of an artifact computes something else than the network: each layer's own error, told from drift."""
