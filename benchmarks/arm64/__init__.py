"""Artifacts on an emulated ARM64 processor: what a phone's instructions make of them, without a phone."""
