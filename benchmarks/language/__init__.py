"""A language model on a fixed text: how near its bundle stays to it, and how fast it reads and writes."""
