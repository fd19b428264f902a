"""Runs inside the emulated system, where only numpy and onnxruntime are: one model on one set of inputs.

Called as ``python onnx_guest.py WHEELS MODEL INPUTS.npz OUTPUTS.npz``.
"""

import sys

sys.path.insert(0, sys.argv[1])

import numpy as np
import onnxruntime as ort


def main(model: str, inputs: str, outputs: str) -> None:
    """Run the model on this processor, on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with np.load(inputs, allow_pickle=False) as data:
        feeds = dict(data)
    names = [output.name for output in session.get_outputs()]
    np.savez(outputs, allow_pickle=False, **dict(zip(names, session.run(names, feeds), strict=True)))


if __name__ == "__main__":
    main(*sys.argv[2:])
