"""Runs models as our sessions do, and as ONNX Runtime alone does; also in an emulator, so that it imports little.

Called as ``python run_products.py FOLDER RESULTS.npz``; a model ``x.onnx`` has its inputs in ``x.npz``.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

from pocketcrafter.runtime.backends.onnxruntime import (
    open_session,
    run_options,
    saturates,
    unoptimized_options,
    write_options,
)
from pocketcrafter.runtime.bundle.split import to_ort_format


def main(folder: Path, out: Path) -> None:
    results = {"saturates": np.array(saturates())}
    for model in sorted(folder.glob("*.onnx")):
        with np.load(model.with_suffix(".npz"), allow_pickle=False) as stored:
            inputs = dict(stored)
        for how, options in (
            ("alone", ort.SessionOptions()),  # noqa: TID251 - what ours are held against
            ("ours", run_options(threads=1)),
            ("unoptimized", unoptimized_options()),
        ):
            results[f"{model.stem}/{how}"] = open_session(model.read_bytes(), options).run(None, inputs)[0]
        with tempfile.TemporaryDirectory() as scratch:
            copy, written = Path(scratch) / model.name, Path(scratch) / "written.onnx"
            copy.write_bytes(model.read_bytes())
            open_session(copy, write_options(written, ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED))
            for name, made in (("written", written), ("ort", to_ort_format(copy))):
                results[f"{model.stem}/{name}"] = np.frombuffer(made.read_bytes(), np.uint8)
    np.savez(out, allow_pickle=False, **results)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
