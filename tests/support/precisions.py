"""Tests of compiled loops in each precision that they have."""

import pytest
import torch

from vocoder.kernels import processor

in_both = pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16"),
        ),
    ],
)
