"""ExecuTorch programs for XNNPACK, Vulkan, MediaTek and Samsung; Core ML and QNN have folders of their own."""
