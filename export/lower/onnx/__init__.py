"""ONNX models for ONNX Runtime: the desktop, the server, ORT mobile."""
