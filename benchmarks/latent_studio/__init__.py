"""The latent studio on frames whose clean selves are known."""
