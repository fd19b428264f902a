"""Fuzzing of everything that reads files which others wrote."""
