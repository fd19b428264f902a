"""Networks of other people, alone: taken from checkpoint folders in Hugging Face's layout, one component a network."""
