"""Training the latent studio, a small pair of the classes that the family `latent` takes, part by part."""
