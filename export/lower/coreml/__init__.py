"""Core ML packages, of their own and in ExecuTorch programs: made by coremltools, proved in the MIL interpreter."""
