"""Levelling and cropping: what the composition network is shown, what is decided from it, and how it is carried out."""
