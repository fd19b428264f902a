"""Quantization of torch modules and ONNX models: pure numerics, and how each toolchain is told of them."""
