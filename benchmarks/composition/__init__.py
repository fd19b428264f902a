"""How well photos are levelled and framed: known tilts, and shifted crops against centered ones."""
