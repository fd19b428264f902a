"""Records of what a pair's own libraries make of photos: made where the GPU is, held against elsewhere."""
