"""Elementary functions of the compiled loops against float64."""

import numpy as np
from numba import vectorize

RNG = np.random.default_rng(0)


def elementwise(function):  # type: ignore[no-untyped-def]
    """A compiled function of a scalar, over arrays."""
    return vectorize(["float32(float32)"])(lambda x: function(x))
