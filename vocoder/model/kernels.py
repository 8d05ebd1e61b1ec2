"""What lies between the matrix products of a residual layer, compiled for the CPU: one pass over memory for each.

torch takes five passes for the gate alone, and its tanh in bfloat16 is slow. Arrays are as they lie, time before
channels; bfloat16 comes as uint16. Threads share out frames or rows, each of which one of them computes from its
start to its end: results do not depend on how many there are.

B batch, T samples, F frames, J knots of a frame, G gate channels, Z = G / 2, R residual, S skip channels.
"""

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from vocoder import functions
from vocoder.functions import LOG2_E, bfloat16, exp2, gated, of_bits

F = np.float32
ROOT_HALF = F(math.sqrt(0.5))


def wide(x):
    """The float32 of a float32, or of the uint16 that a bfloat16 is."""


def narrow(x, like):
    """The other way round, for an array of such."""


@overload(wide, inline="always")
def _wide(x):
    if x == types.uint16:
        return lambda x: of_bits(np.uint32(x) << np.uint32(16))
    return lambda x: x


@overload(narrow, inline="always")
def _narrow(x, like):
    if like.dtype == types.uint16:
        return lambda x, like: np.uint16(bfloat16(x) >> np.uint32(16))
    return lambda x, like: x


def _loops(sources: int) -> tuple[Callable[..., None], ...]:
    """The loops, kept on disk. numba looks at this file and at the CRC to see whether what it kept is still true."""

    def compiled(function: Callable[..., None]) -> Any:
        try:
            return njit(nogil=True, error_model="numpy", parallel=True, cache=True)(function)
        except RuntimeError:  # there is no folder that it could be kept in
            return njit(nogil=True, error_model="numpy", parallel=True)(function)

    @compiled
    def gate(z, knots, left, weights, first, y):
        """y [B, T, Z] of z [B, T, G] and the conditioning between knots [B, F, J, G]; sample 0 is frame 0's `first`."""
        samples, half = y.shape[1:]
        frames, last, hop = knots.shape[1], knots.shape[2] - 1, left.shape[0]
        work = knots.shape[0] * frames if sources else 0
        for i in prange(work):
            b, f = i // frames, i % frames
            for t in range(max(0, f * hop - first), min(samples, f * hop + hop - first)):
                s = first + t - f * hop
                p, q = knots[b, f, left[s]], knots[b, f, min(left[s] + 1, last)]
                v, w = weights[s, 0], weights[s, 1]
                for j in range(half):
                    k = half + j
                    a = wide(z[b, t, j]) + v * p[j] + w * q[j]
                    o = wide(z[b, t, k]) + v * p[k] + w * q[k]
                    y[b, t, j] = narrow(gated(a, o), y)

    @compiled
    def gate_backward(z, knots, left, weights, first, dy, dz, dknots):
        """Gradients dz [B, T, G] and, added to what is there, dknots [B, F, J, G], of that of y."""
        samples, half = dy.shape[1:]
        frames, last, hop = knots.shape[1], knots.shape[2] - 1, left.shape[0]
        work = knots.shape[0] * frames if sources else 0
        for i in prange(work):
            b, f = i // frames, i % frames
            for t in range(max(0, f * hop - first), min(samples, f * hop + hop - first)):
                s = first + t - f * hop
                l, m = left[s], min(left[s] + 1, last)  # noqa: E741
                p, q, dp, dq = knots[b, f, l], knots[b, f, m], dknots[b, f, l], dknots[b, f, m]
                v, w = weights[s, 0], weights[s, 1]
                for j in range(half):
                    k = half + j
                    a = wide(z[b, t, j]) + v * p[j] + w * q[j]
                    o = wide(z[b, t, k]) + v * p[k] + w * q[k]
                    ea = exp2(min(max(a * (F(-2) * LOG2_E), F(-60)), F(60)))
                    eo = exp2(min(max(o * -LOG2_E, F(-60)), F(60)))
                    r = F(1) / ((F(1) + ea) * (F(1) + eo))
                    tanh, sigmoid = (F(1) - ea) * (F(1) + eo) * r, (F(1) + ea) * r
                    g = wide(dy[b, t, j]) * sigmoid
                    da = g * (F(1) - tanh * tanh)
                    do = g * tanh * (F(1) - sigmoid)
                    dz[b, t, j] = narrow(da, dz)
                    dz[b, t, k] = narrow(do, dz)
                    dp[j] += v * da
                    dp[k] += v * do
                    if w != F(0):
                        dq[j] += w * da
                        dq[k] += w * do

    @compiled
    def residual(h, out, skips, following, sums):
        """`following` [B, T, R] and `sums` [B, N, S] from h [B, T + history, R], out [B, T, R + S], skips [B, N, S]."""
        batch, samples, width = following.shape
        history, before = h.shape[1] - samples, samples - skips.shape[1]
        work = batch * samples if sources else 0
        for i in prange(work):
            b, t = i // samples, i % samples
            for j in range(width):
                following[b, t, j] = narrow((wide(h[b, history + t, j]) + wide(out[b, t, j])) * ROOT_HALF, following)
            if t >= before:
                for j in range(skips.shape[2]):
                    sums[b, t - before, j] = skips[b, t - before, j] + wide(out[b, t, width + j])

    @compiled
    def residual_backward(dfollowing, dsums, dh, dout):
        """Gradients of h and out."""
        batch, samples, width = dfollowing.shape
        history, before = dh.shape[1] - samples, samples - dsums.shape[1]
        work = batch * dh.shape[1] if sources else 0
        for i in prange(work):
            b, t = i // dh.shape[1], i % dh.shape[1] - history
            if t < 0:
                for j in range(width):
                    dh[b, history + t, j] = narrow(F(0), dh)
                continue
            for j in range(width):
                g = narrow(wide(dfollowing[b, t, j]) * ROOT_HALF, dh)
                dh[b, history + t, j] = g
                dout[b, t, j] = g
            for j in range(dsums.shape[2]):
                dout[b, t, width + j] = narrow(dsums[b, t - before, j] if t >= before else F(0), dout)

    return gate, gate_backward, residual, residual_backward


FILES = (Path(__file__), Path(functions.__file__))
gate, gate_backward, residual, residual_backward = _loops(sum(zlib.crc32(file.read_bytes()) for file in FILES))
