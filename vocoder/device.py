"""The device, autocast, and torch's threads and memory on the CPU."""

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
    """The torch device for `name`: "cpu", "cuda", "cuda:N", or "auto" for CUDA if there is a GPU, else the CPU.

    Raises:
        UserError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise UserError(f"device={name}: unknown; use auto, cpu, cuda or cuda:N")
    device = torch.device(name)
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        raise UserError(f"device={name}: torch finds {count or 'no'} CUDA devices here; use another, or device=cpu")
    return device


def autocast(dtype: torch.dtype, device: torch.device) -> AbstractContextManager[Any]:
    """Run matrix products in `dtype` by autocast (off for float32). No effect on the device "meta", which has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, dtype, dtype != torch.float32)


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Turn autocast off, so that tensors keep their dtype. No effect on the device "meta", which has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def to_autocast_dtype(x: Tensor) -> Tensor:
    """x in autocast's dtype, or unchanged if autocast is off."""
    kind = x.device.type
    enabled = kind != "meta" and torch.is_autocast_enabled(kind)
    return x.to(torch.get_autocast_dtype(kind)) if enabled else x


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Limit torch to one thread, so that rounding is independent of the thread count."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def reuse_freed_memory() -> None:
    """Make glibc keep large freed blocks for reuse instead of returning each to the system. Linux only.

    Every training step allocates the same tensors on the CPU; getting new pages for them takes a tenth to a fifth of
    the step.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # <malloc.h>
