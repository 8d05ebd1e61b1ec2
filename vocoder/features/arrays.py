"""Arrays and tensors of callers, of any kind, as plain float32 arrays: one conversion for every entry point."""

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import UserError
from vocoder.features.audio import int16_to_waveform

LOUDEST = 8.0  # of a float waveform, whose full scale is 1; samples as integers are far beyond


def as_mel(given: np.ndarray | Tensor) -> np.ndarray:
    """A contiguous float32 array of the caller's floating-point values; a leading axis of size 1 is removed.

    It is the caller's own memory where that is such an array already.

    Takes tensors on any device, of any float type, with gradients; arrays of any byte order and strides; memory maps.

    Raises:
        UserError: the values are not floating-point numbers.
    """
    mel = _as_array(given)
    if mel.dtype.kind != "f":
        raise UserError(f"a mel has floating-point values; this one has {mel.dtype}")
    mel = _plain(mel)
    return mel[0] if mel.ndim == 3 and len(mel) == 1 else mel


def as_waveform(given: np.ndarray | Tensor) -> np.ndarray:
    """A contiguous float32 waveform [T] of the caller's samples; int16 is scaled by 1/32768.

    Raises:
        UserError: it has other axes, other integers, NaN or infinite values, or values far beyond full scale.
    """
    samples = _as_array(given)
    if samples.dtype.kind not in "f" and samples.dtype != np.int16:
        raise UserError(f"a waveform is floating-point in [-1, 1], or int16; this one has {samples.dtype}")
    if samples.ndim != 1:
        raise UserError(f"a waveform has one axis [samples]; this one has shape {list(samples.shape)}")
    if samples.dtype == np.int16:
        return int16_to_waveform(samples)
    waveform = _plain(samples)
    if not np.isfinite(waveform).all():
        raise UserError("this waveform has NaN or infinite values")
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak > LOUDEST:
        raise UserError(f"this waveform peaks at {peak:g}, and full scale is 1: divide 16-bit samples by 32768")
    return waveform


def _plain(array: np.ndarray) -> np.ndarray:
    """Float32 in C order, and writeable, or torch would warn of it."""
    return np.require(array, np.float32, ["C_CONTIGUOUS", "WRITEABLE", "ALIGNED"])


def _as_array(given: np.ndarray | Tensor) -> np.ndarray:
    if isinstance(given, Tensor):
        given = given.detach().cpu()
        given = (given.float() if given.dtype == torch.bfloat16 else given).numpy()
    return np.asarray(given)
