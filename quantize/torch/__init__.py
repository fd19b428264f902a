"""Quantization of torch modules, for ExecuTorch and Core ML, and training through it."""
