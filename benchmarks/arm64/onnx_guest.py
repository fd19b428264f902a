"""Runs inside the emulated system, where only numpy and onnxruntime are: one model on one set of inputs.

Called as ``python onnx_guest.py WHEELS MODEL INPUTS.npz OUTPUTS.npz``.
"""

import sys


def main(wheels: str, model: str, inputs: str, outputs: str) -> None:
    """Run the model on this processor, on one thread.

    Parameters
    ----------
    wheels
        Folder with numpy and onnxruntime, put in front of the module path.
    model
        The ONNX file.
    inputs, outputs
        ``.npz`` files of arrays by name: what is read, and what is written.
    """
    sys.path.insert(0, wheels)
    import numpy as np  # noqa: PLC0415 - from the wheels
    import onnxruntime as ort  # noqa: PLC0415

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    with np.load(inputs, allow_pickle=False) as data:
        feeds = dict(data)
    names = [output.name for output in session.get_outputs()]
    np.savez(outputs, allow_pickle=False, **dict(zip(names, session.run(names, feeds), strict=True)))


if __name__ == "__main__":
    main(*sys.argv[1:])
