"""Lowering: a folder a toolchain, and in it each target's profile beside what makes its artifacts.

The same network, samples and tools give the same bytes on ``onnx``, ``executorch-xnnpack``, ``coreml:<ios>``,
``coreai:<ios>`` and ``executorch-vulkan``. It is tested of the first four; of Vulkan, two whole builds came out equal.
On the QNN targets they do not: their binaries equal each other only in what they compute. Nor on ``executorch-coreml``,
whose packages get random names inside ExecuTorch.
"""
