"""How good the pipeline is: pictures, each attribute, its score, what others make of the same frames, and the worst."""
