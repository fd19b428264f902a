"""Numerics of quantization on tensors, without any toolchain: ranges, scales, rounding, equivalent rewrites."""
