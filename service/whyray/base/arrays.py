"""Types of the arrays that rooms hand to each other; shapes and units stand where they are used."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
"""What models read and answer, and the values of maps."""
DoubleArray = NDArray[np.float64]
"""Coordinates, affines and statistics."""
BoolArray = NDArray[np.bool_]
"""Masks."""
ByteArray = NDArray[np.uint8]
"""Pictures and small labels."""
