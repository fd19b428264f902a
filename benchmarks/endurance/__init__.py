"""Whether a command that is killed, or has no room, leaves anything that is not whole."""
