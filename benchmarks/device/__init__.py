"""Phones over a cable: what is pushed to them, what they answer, and what they leave behind (nothing)."""
