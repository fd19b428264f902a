"""Whether the artist uses the critic's plan tokens."""
