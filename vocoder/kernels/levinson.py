"""The recursions of linear prediction, for many frames, in float64.

N frames, K order. For a block of 32 frames torch is busier with beginning K short steps than with computing them.
"""

import numpy as np

from vocoder.kernels.jit import cached_jit, compiled, jitable


@compiled
def _reflect(a, previous, k, order):
    """The predictor of one order more: a_j - k a_(order - j), and k."""
    for j in range(order):
        previous[j] = a[j]
    for j in range(order):
        a[j] = previous[j] - k * previous[order - 1 - j]
    a[order] = k


@jitable
def _levinson(autocorrelation, reflection, error):
    """Reflection coefficients [N, K] and error power [N] from autocorrelation [N, K + 1] (Levinson, Durbin)."""
    a, previous = np.zeros(reflection.shape[1]), np.zeros(reflection.shape[1])
    for n in range(len(reflection)):
        r = autocorrelation[n]
        error[n] = r[0]
        for i in range(reflection.shape[1]):
            k = r[i + 1]
            for j in range(i):
                k -= a[j] * r[i - j]
            k /= error[n]
            _reflect(a, previous, k, i)
            reflection[n, i] = k
            error[n] *= 1 - k * k


@jitable
def _step_up(reflection, coefficients):
    """Predictor coefficients [N, K] from reflection coefficients [N, K]."""
    previous = np.zeros(reflection.shape[1])
    for n in range(len(reflection)):
        for i in range(reflection.shape[1]):
            _reflect(coefficients[n], previous, reflection[n, i], i)


levinson, step_up = cached_jit(_levinson), cached_jit(_step_up)
