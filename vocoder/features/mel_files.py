"""Mel-spectrograms in files that other programs, such as acoustic models, have written."""

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

from vocoder.errors import UserError

MEL_SUFFIXES = (".npy", ".npz", ".pt", ".safetensors")
HDF5_SUFFIXES = (".h5", ".hdf5")  # of ParallelWaveGAN and ESPnet; read by h5py, which is optional
ALL_MEL_SUFFIXES = MEL_SUFFIXES + HDF5_SUFFIXES
PICKLE_SUFFIXES = (".joblib", ".pkl", ".pickle", ".gz")
STATISTICS_NAMES = {"std": "scale", "mean_": "mean", "scale_": "scale"}


def read_mel(path: Path) -> np.ndarray:
    """Read the mel in a .npy, .npz, .pt, .safetensors or .h5 file as float32.

    The file must contain one floating-point array, or several of which one is named "mel" or, as in ParallelWaveGAN's
    files, "feats". A leading axis of size 1 is removed. Pickled objects are refused, so that no code in the file is
    executed.

    Raises:
        UserError: the file cannot be read, or has other contents.
    """
    arrays = _arrays_of(path)
    for name in ("mel", "feats"):
        if name in arrays:
            arrays = {name: arrays[name]}
    if len(arrays) != 1:
        names = ", ".join(arrays)
        raise UserError(f"{path}: contains {len(arrays)} arrays ({names}); name one of them mel, or save only one")
    (mel,) = arrays.values()
    if not np.issubdtype(mel.dtype, np.floating):
        raise UserError(f"{path}: contains {mel.dtype} values, not floating-point ones")
    return (mel[0] if mel.ndim == 3 and len(mel) == 1 else mel).astype(np.float32)


def read_statistics(path: Path, n_mels: int) -> tuple[np.ndarray, np.ndarray]:
    """The float64 mean and scale [n_mels] by which mels were normalised: value = (mel - mean) / scale.

    The file has arrays named "mean" and "scale" (or "std", or, as in scikit-learn, "mean_" and "scale_"), or is a .npy
    with these as its two rows, as ParallelWaveGAN writes them.

    Raises:
        UserError: the file is missing, is a pickle (as joblib writes, and which could run code), has other contents, or
            a scale is not above 0.
    """
    if path.suffix.lower() in PICKLE_SUFFIXES and path.is_file():
        raise _pickled(path)
    try:
        arrays = _arrays_of(path)
    except UserError as error:
        if path.suffix.lower() in (".npy", ".npz") and "pickle" in str(error).removeprefix(str(path)):
            raise _pickled(path) from None
        raise
    if list(arrays) == ["array"] and arrays["array"].shape == (2, n_mels):
        arrays = {"mean": arrays["array"][0], "scale": arrays["array"][1]}
    named = {STATISTICS_NAMES.get(name, name): array for name, array in arrays.items()}
    if not {"mean", "scale"} <= named.keys():
        raise UserError(f"{path}: statistics are arrays named mean and scale; it has {', '.join(arrays) or 'none'}")
    mean, scale = (named[name].astype(np.float64).reshape(-1) for name in ("mean", "scale"))
    if mean.shape != (n_mels,) or scale.shape != (n_mels,):
        raise UserError(f"{path}: mean and scale have {len(mean)} and {len(scale)} bands, the mels {n_mels}")
    if not (np.isfinite(mean).all() and np.isfinite(scale).all() and scale.min() > 0):
        raise UserError(f"{path}: mean and scale must be finite, and scale above 0")
    return mean, scale


def _pickled(path: Path) -> UserError:
    return UserError(
        f"{path}: a pickle, and loading it could run code; if you trust it, convert it: "
        f"python -c \"import joblib, numpy; s = joblib.load('{path}'); "
        "numpy.savez('stats.npz', mean=s.mean_, scale=s.scale_)\", and give stats.npz"
    )


def _arrays_of(path: Path) -> dict[str, np.ndarray]:
    """All arrays in the file by name. Raises UserError where it cannot be read, or only by running code in it."""
    try:
        return _read_hdf5(path) if path.suffix.lower() in HDF5_SUFFIXES else _read_arrays(path)
    except (OSError, ValueError, EOFError, RuntimeError, KeyError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not readable as a mel ({_first_sentence(error)})") from None
    except UserError:
        raise
    except Exception as error:  # torch's restricted unpickler raises various types
        if "numpy" in str(error):
            raise UserError(
                f"{path}: refused, a NumPy array saved by torch.save is a pickle; save it with np.save, or save "
                "torch.from_numpy(mel)"
            ) from None
        raise UserError(f"{path}: refused ({type(error).__name__}); save the mel alone, as a tensor or array") from None


def _read_hdf5(path: Path) -> dict[str, np.ndarray]:
    """All arrays at the top of an HDF5 file by name; what it names of other files is never read.

    Raises:
        UserError: h5py is not installed, or an array lies in another file.
    """
    try:
        import h5py
    except ImportError:
        raise UserError(f"{path}: needs h5py; pip install h5py, or save the mel with np.save") from None
    with h5py.File(path, "r") as file:
        own = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        found = {name: file[name] for name in own if isinstance(file[name], h5py.Dataset) and file[name].shape}
        elsewhere = [name for name, item in found.items() if item.external or item.is_virtual]
        if elsewhere:
            raise UserError(f"{path}: its array {elsewhere[0]} lies in another file, which is not read")
        return {name: item[()] for name, item in found.items()}


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
