"""Which device, and which precision it is good at."""

import ctypes
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from vocoder.errors import UserError


def pick_device(name: str) -> torch.device:
    """The device called `name`; "auto" is CUDA where there is a GPU and the CPU otherwise.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"device={name}: unknown; there are auto, cpu, cuda and cuda:N")
    device = torch.device(name)
    found = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= found:
        raise UserError(f"device={name}: torch finds {found or 'no'} CUDA devices here; use another, or device=cpu")
    return device


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The dtype that matrix products run in: float32, bfloat16 or float16.

    "auto" is bfloat16 where the hardware multiplies it faster than float32, else float16 on a GPU.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cuda":
        with torch.cuda.device(device):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float16
    if device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
        return torch.bfloat16
    return torch.float32


def in_precision(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """A context in which matrix products run in `dtype` (autocast); "meta" computes nothing, in no precision."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, dtype, dtype != torch.float32)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """A context in which numbers keep the precision they came in; "meta" has none, nor any autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def in_autocast_dtype(x: Tensor) -> Tensor:
    """x as autocast's matrix products would take it; as it is where autocast is off."""
    kind = x.device.type
    enabled = kind != "meta" and torch.is_autocast_enabled(kind)
    return x.to(torch.get_autocast_dtype(kind)) if enabled else x


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Work whose last bits shall not depend on how many threads torch would share it out to."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep_freed_memory() -> None:
    """Tell glibc to reuse large freed blocks, where torch on the CPU would hand each back to the system.

    Every step of training allocates the same tensors: fresh pages for them cost a tenth to a fifth of it.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # <malloc.h>
