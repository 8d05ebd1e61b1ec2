"""The precision of a training's matrix products."""

import torch

from vocoder.kernels.processor import FAST_BF16


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype of matrix products: float32, bfloat16 or float16.

    "auto" is bfloat16 on a GPU that multiplies it natively, otherwise float16; on the CPU, bfloat16 where it is faster
    than float32.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cuda":
        with torch.cuda.device(device):
            native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    return torch.bfloat16 if device.type == "cpu" and FAST_BF16 else torch.float32
