"""Distilling latent artists: the many steps of a full-precision pair in the few that a phone runs."""
