"""Latent pairs from folders: a vision-language critic of transformers, and a few-step artist of diffusers."""
