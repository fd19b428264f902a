"""Whether a bundle is small enough for a phone: parameters of its networks, bytes of each target's artifacts."""
