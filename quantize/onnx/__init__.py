"""Quantization of ONNX models, as ONNX Runtime and the compilers that read its QDQ format take them."""
