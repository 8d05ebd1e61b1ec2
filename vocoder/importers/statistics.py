"""The mean and scale by which another system normalised its mels."""

from pathlib import Path

import numpy as np

from vocoder.errors import UserError

PICKLES = (".joblib", ".pkl", ".pickle", ".gz")


def read_statistics(path: Path, n_mels: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean, scale), float64 [n_mels] each; a mel is normalised as (mel - mean) / scale.

    From an .npz file with the arrays mean and scale (or mean_ and scale_), or an .npy file [2, n_mels].

    Raises:
        UserError: the file is missing, is a pickle (as joblib writes, and which could run code), or has other contents.
    """
    if not path.is_file():
        raise UserError(f"stats={path}: no such file")
    if path.suffix.lower() in PICKLES:
        raise _pickled(path)
    try:
        with path.open("rb") as file:
            content = np.load(file)
            arrays = [content] if isinstance(content, np.ndarray) else _mean_and_scale(dict(content), path)
    except (OSError, ValueError, EOFError) as error:
        if "pickle" in str(error):
            raise _pickled(path) from None
        raise UserError(f"stats={path}: neither .npz nor .npy ({error})") from None
    statistics = np.concatenate([np.atleast_2d(array) for array in arrays]).astype(np.float64)
    if statistics.shape != (2, n_mels):
        raise UserError(f"stats={path}: has shape {list(statistics.shape)}, not [2, {n_mels}] (mean and scale)")
    mean, scale = statistics
    if not np.isfinite(statistics).all() or scale.min() <= 0:
        raise UserError(f"stats={path}: mean must be finite, and scale finite and above 0")
    return mean, scale


def _mean_and_scale(arrays: dict[str, np.ndarray], path: Path) -> list[np.ndarray]:
    named = {name.rstrip("_"): array for name, array in arrays.items()}
    if not {"mean", "scale"} <= named.keys():
        raise UserError(f"stats={path}: needs the arrays mean and scale, and has {', '.join(arrays) or 'none'}")
    return [named["mean"], named["scale"]]


def _pickled(path: Path) -> UserError:
    return UserError(
        f"stats={path}: a pickle, and loading it could run code; if you trust it, convert it: "
        f"python -c \"import joblib, numpy; s = joblib.load('{path}'); "
        "numpy.savez('stats.npz', mean=s.mean_, scale=s.scale_)\", and give stats.npz"
    )
