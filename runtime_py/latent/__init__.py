"""The latent family: a vision-language critic whose hidden states condition a few-step latent artist."""
