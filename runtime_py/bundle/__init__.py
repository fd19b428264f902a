"""A bundle: a directory (or a zip of it) that holds every target's artifacts, their proofs and their hashes."""
