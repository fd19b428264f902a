"""Training data: photo sources, their split, and the degradations made from them."""
