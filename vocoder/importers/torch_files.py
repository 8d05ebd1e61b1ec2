"""Checkpoints that torch.save has written, read without running code in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocoder.errors import UserError


def read_torch_file(path: Path) -> Mapping[str, Any]:
    """The dict in a file of torch.save, which may hold tensors and plain values only.

    Raises:
        UserError: the file cannot be read, holds other objects (loading them could run code), or is no dict.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from None
    except Exception as error:  # torch's restricted unpickler raises various types
        if "weights_only" not in str(error).lower() and "weights only" not in str(error).lower():
            raise UserError(f"{path}: not a checkpoint of torch, or damaged ({type(error).__name__})") from None
        raise UserError(
            f"{path}: holds objects besides tensors, and loading those could run code; if you trust it, "
            f"save its weights alone: python -c \"import torch; c = torch.load('{path}', weights_only=False); "
            "torch.save({'state_dict': c['state_dict']}, 'weights.pth')\", and import weights.pth"
        ) from None
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    return content


def state_dict_of(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """The tensors under "state_dict".

    Raises:
        UserError: there are none, or some are not finite.
    """
    state = content.get("state_dict")
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path}: has no weights under state_dict: not a checkpoint of r9y9's wavenet_vocoder")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise UserError(
                f"{path}: {name} has NaN or infinite values: its training diverged; take another checkpoint"
            )
    return dict(state)
