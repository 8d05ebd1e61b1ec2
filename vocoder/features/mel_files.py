"""Mel-spectrograms in files that other programs, such as acoustic models, have written."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from vocoder.errors import UserError

MEL_SUFFIXES = (".npy", ".npz", ".pt", ".safetensors")


def read_mel(path: Path) -> np.ndarray:
    """Read the mel in a .npy, .npz, .pt or .safetensors file as float32.

    The file must contain one floating-point array, or several of which one is named "mel". A leading axis of size 1
    is removed. Pickled objects are refused, so that no code in the file is executed.

    Raises:
        UserError: the file cannot be read, or has other contents.
    """
    try:
        arrays = _read_arrays(path)
    except (OSError, ValueError, EOFError, RuntimeError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not readable as a mel ({_first_sentence(error)})") from None
    except Exception as error:  # torch's restricted unpickler raises various types
        raise UserError(f"{path}: refused ({type(error).__name__}); save the mel alone, as a tensor or array") from None
    if "mel" in arrays:
        arrays = {"mel": arrays["mel"]}
    if len(arrays) != 1:
        names = ", ".join(arrays)
        raise UserError(f"{path}: contains {len(arrays)} arrays ({names}); name one of them mel, or save only one")
    (mel,) = arrays.values()
    if not np.issubdtype(mel.dtype, np.floating):
        raise UserError(f"{path}: contains {mel.dtype} values, not floating-point ones")
    return (mel[0] if mel.ndim == 3 and len(mel) == 1 else mel).astype(np.float32)


def _first_sentence(error: Exception) -> str:
    """torch's messages run to many lines; the first sentence has the cause."""
    return " ".join(str(error).split()).split(". ")[0].split(" If you trust")[0][:200].rstrip(".")


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays in the file by name; "array" if it has a single one without a name."""
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        with path.open("rb") as file:
            content = np.load(file)  # detects .npy and .npz by content, not by suffix
            arrays = {"array": content} if isinstance(content, np.ndarray) else dict(content)
        return {name: array for name, array in arrays.items() if isinstance(array, np.ndarray)}
    loaded = (
        safetensors.torch.load_file(path)
        if suffix == ".safetensors"
        else torch.load(path, map_location="cpu", weights_only=True)
    )
    if isinstance(loaded, torch.Tensor):
        loaded = {"array": loaded}
    if not isinstance(loaded, dict):
        raise ValueError("neither a tensor nor a dict of tensors")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    return {
        name: tensor.detach().float().numpy() if tensor.is_floating_point() else tensor.numpy()
        for name, tensor in tensors.items()
    }
