"""What the compiled training loops take: which tensors, as which arrays, and weights in which order."""

import numpy as np
import torch
from torch import Tensor

from vocoder.kernels import parallel
from vocoder.kernels.matmul import TILE, aligned_zeros, round_up
from vocoder.kernels.parallel import run_parallel
from vocoder.kernels.processor import HAS_AMX, HAS_BF16

# Samples, or groups of them, over which one product of a weight gradient sums. Matrix units want longer sums, in
# multiples of 32 samples: `swap_axes` copies whole blocks of 16 pairs only.
GRADIENT_BLOCK, GRADIENT_BLOCK_AMX = 128, 512
_NO_TRANSFORM = np.ones((1, 1), np.float32)  # [P, K] of a plain product


def is_compiled_for(signal: Tensor) -> bool:
    """Whether there are compiled loops for its device and precision."""
    dtypes = (torch.float32, torch.bfloat16) if HAS_BF16 else (torch.float32,)
    return signal.device.type == "cpu" and signal.dtype in dtypes


def on_matrix_units(dtype: torch.dtype) -> bool:
    """Whether products in this precision are computed on matrix units."""
    return HAS_AMX and dtype == torch.bfloat16


def as_numpy(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Contiguous arrays that share memory with contiguous tensors; bfloat16 becomes uint16."""
    contiguous = (tensor.detach().contiguous() for tensor in tensors)
    return tuple((x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy() for x in contiguous)


def transform_and_pack(weights: np.ndarray, transform: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """transform [P, K] @ weights [K, k, rows] -> [P, tile, k, TILE]; in bfloat16, pairs of neighbouring k.

    NumPy, because torch takes ten times as long for each operation on a small array, and a step packs many.
    """
    tiles, pairs = round_up(weights.shape[2], TILE) // TILE, dtype == torch.bfloat16
    depth = round_up(weights.shape[1], 2) // 2 if pairs else weights.shape[1]
    packed = aligned_zeros((len(transform), tiles, depth, TILE), np.uint32 if pairs else np.float32)
    run_parallel(parallel.transform_weights, np.ascontiguousarray(weights), transform, packed)
    return packed


def pack(weight: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """weight [rows, k] -> [1, tile, k, TILE]; in bfloat16, pairs of neighbouring k."""
    return transform_and_pack(weight.T[None], _NO_TRANSFORM, dtype)


def gradient_block_like(x: Tensor) -> np.ndarray:
    """A dummy: the loops read only its length and dtype, the block size and the precision of a sum over time."""
    if x.dtype == torch.bfloat16:
        return np.zeros((GRADIENT_BLOCK_AMX if on_matrix_units(x.dtype) else GRADIENT_BLOCK) // 2, np.uint32)
    return np.zeros(GRADIENT_BLOCK, np.float32)
