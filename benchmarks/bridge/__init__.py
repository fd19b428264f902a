"""Whether the artist uses what the critic hands over: the plan tokens taken away, and given to the wrong photo."""
