"""What the decoder learns to write: measured facts of a frame and a plan, put into a photographer's words."""
