"""The engines that run artifacts, found by name."""
