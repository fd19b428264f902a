"""Quantisation: recipes, calibration and one file a toolchain."""
