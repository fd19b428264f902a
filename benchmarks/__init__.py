"""Figures with their commands: quality, parity, latency, profiles and the report."""
