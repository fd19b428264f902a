"""The parity ladder of a bundle, run on this machine: what can be proved without a phone, in one table."""
