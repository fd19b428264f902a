"""The array types that signatures name."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
AnyFloatArray = npt.NDArray[np.floating]
PixelArray = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
