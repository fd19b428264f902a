"""Binaries for Qualcomm's HTP: ONNX Runtime context models and ExecuTorch programs, compiled by QNN."""
