"""Statistics of mels: read from arrays, never from pickles."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from vocoder.errors import UserError
from vocoder.features.mel_files import read_statistics

MEAN, SCALE = np.array([-1.0, -2.0, -3.0]), np.array([0.5, 1.0, 2.0])


@pytest.mark.parametrize("names", [("mean", "scale"), ("mean_", "scale_"), ("mean", "std")])
def test_mean_and_scale_are_read_from_npz(names: tuple[str, str], tmp_path: Path) -> None:
    np.savez(tmp_path / "stats.npz", **dict(zip(names, (MEAN, SCALE), strict=True)))
    mean, scale = read_statistics(tmp_path / "stats.npz", 3)
    assert (mean.tolist(), scale.tolist()) == (MEAN.tolist(), SCALE.tolist())


def test_mean_and_scale_are_read_from_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "stats.npy", np.stack((MEAN, SCALE)))
    mean, scale = read_statistics(tmp_path / "stats.npy", 3)
    assert (mean.tolist(), scale.tolist()) == (MEAN.tolist(), SCALE.tolist())


class Bomb:
    """Loading its pickle would raise SystemExit."""

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return SystemExit, ("code was run",)


@pytest.mark.parametrize("name", ["meanvar.joblib", "meanvar.pkl", "meanvar.npy"])
def test_pickles_are_refused_with_the_lines_that_convert_them(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=r"pickle.*joblib\.load.*numpy\.savez") as refused:
        read_statistics(tmp_path / name, 3)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"mean": MEAN}, "named mean and scale; it has mean"),
        ({"mean": MEAN[:2], "scale": SCALE[:2]}, "mean and scale have 2 and 2 bands, the mels 3"),
        ({"mean": MEAN, "scale": 0 * SCALE}, "scale above 0"),
        ({"mean": np.nan * MEAN, "scale": SCALE}, "must be finite"),
    ],
)
def test_other_contents_are_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "stats.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read_statistics(tmp_path / "stats.npz", 3)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stats\.npz.*[Nn]o such file"):
        read_statistics(tmp_path / "stats.npz", 3)
