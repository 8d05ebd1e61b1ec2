"""Mel-spectrograms in files, as acoustic models leave them."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from vocoder.errors import UserError

MEL_SUFFIXES = (".npy", ".npz", ".pt", ".safetensors")


def read_mel(path: Path) -> np.ndarray:
    """The one float array in a .npy, .npz, .pt or .safetensors file, a leading axis of 1 removed.

    Files are data: nothing in them is executed.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        arrays = _arrays(path)
    except (OSError, ValueError, EOFError, RuntimeError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not readable as a mel ({_first_sentence(error)})") from None
    except Exception as error:  # torch's unpickler refuses with an exception of its own, whose type varies
        raise UserError(f"{path}: refused ({type(error).__name__}); save the mel alone, as a tensor or array") from None
    if "mel" in arrays:
        arrays = {"mel": arrays["mel"]}
    if len(arrays) != 1:
        raise UserError(f"{path}: holds {len(arrays)} arrays ({', '.join(arrays)}); name one of them mel, or keep one")
    (mel,) = arrays.values()
    if not np.issubdtype(mel.dtype, np.floating):
        raise UserError(f"{path}: holds {mel.dtype} values, not floating-point ones")
    return (mel[0] if mel.ndim == 3 and len(mel) == 1 else mel).astype(np.float32)


def _first_sentence(error: Exception) -> str:
    return " ".join(str(error).split()).split(". ")[0].split(" If you trust")[0][:200].rstrip(".")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        with path.open("rb") as file:
            content = np.load(file)  # tells the two apart by what is in them
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
        raise ValueError("neither a tensor nor tensors by name")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, torch.Tensor)}
    return {
        name: tensor.detach().float().numpy() if tensor.is_floating_point() else tensor.numpy()
        for name, tensor in tensors.items()
    }
