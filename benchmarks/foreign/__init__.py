"""Which targets take the networks of other people."""
