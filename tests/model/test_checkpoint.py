"""Checkpoints on disk: the best is found, damage is detected and named, and a shipped model needs no train state."""

from pathlib import Path

import pytest
import torch

from vocoder.errors import UserError
from vocoder.model import VocoderConfig, VocoderModel, build_model, find_checkpoint, load_model, save_checkpoint


@pytest.fixture
def run(tmp_path: Path, tiny_config: VocoderConfig) -> Path:
    """A run of three checkpoints, the second the best. All averaged weights of step n are n / 100."""
    for step, bits in ((1, 9.0), (2, 7.0), (3, 8.0)):
        save(tmp_path / f"run/checkpoints/step-{step:08d}", tiny_config, step, bits)
    return tmp_path / "run"


def save(directory: Path, config: VocoderConfig, step: int, bits: float | None) -> None:
    def filled(value: float) -> dict[str, torch.Tensor]:
        return {name: torch.full_like(tensor, value) for name, tensor in build_model(config).state_dict().items()}

    weights = {"model": filled(-1.0), "ema": filled(step / 100)}
    save_checkpoint(directory, config, weights, {"step": step, "dev_bits": bits}, {"step": step})


def step_of(model: VocoderModel) -> int:
    return round(100 * float(model.wavenet.output.bias.detach()[0]))


def checkpoint(run: Path, step: int) -> Path:
    return run / f"checkpoints/step-{step:08d}"


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_run_loads_its_best_checkpoint_with_averaged_weights(run: Path) -> None:
    assert step_of(load_model(find_checkpoint(run))) == 2


def test_a_checkpoint_loads_itself(run: Path) -> None:
    assert step_of(load_model(find_checkpoint(checkpoint(run, 3)))) == 3


def test_a_damaged_checkpoint_is_skipped_for_the_next_best(run: Path) -> None:
    flip_a_bit(checkpoint(run, 2) / "ema.safetensors")
    assert step_of(load_model(find_checkpoint(run))) == 3
    (checkpoint(run, 3) / "manifest.json").unlink()
    assert step_of(load_model(find_checkpoint(run))) == 1


def test_the_best_is_by_the_measure_of_the_newest_checkpoint(run: Path, tiny_config: VocoderConfig) -> None:
    weights = {"model": build_model(tiny_config).state_dict()}
    for step, bits, score in ((4, 7.5, -3.0), (5, 7.2, -3.5), (6, 7.1, -2.0), (7, 7.0, None)):
        metrics = {"step": step, "dev_bits": bits, "best_by": "mos", "score": score}
        save_checkpoint(checkpoint(run, step), tiny_config, weights, metrics)
    assert find_checkpoint(run).step == 5


def test_the_best_is_by_the_data_of_the_newest_checkpoint(run: Path, tiny_config: VocoderConfig) -> None:
    weights = {"model": build_model(tiny_config).state_dict()}
    for step, bits, data in ((7, 1.0, "corpus"), (8, 6.5, "other"), (9, 6.6, "other")):
        metrics = {"step": step, "dev_bits": bits, "data": data}
        save_checkpoint(run / f"checkpoints/step-{step:08d}", tiny_config, weights, metrics)
    assert find_checkpoint(run).step == 8
    assert find_checkpoint(run).data == "other"


def test_of_equally_good_checkpoints_the_latest_is_loaded(run: Path, tiny_config: VocoderConfig) -> None:
    save(checkpoint(run, 4), tiny_config, 4, 7.0)
    save(checkpoint(run, 5), tiny_config, 5, None)  # never measured
    assert step_of(load_model(find_checkpoint(run))) == 4


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "config.json", "metrics.json"])
def test_a_flipped_bit_is_refused_with_the_name_of_the_file(run: Path, name: str) -> None:
    flip_a_bit(checkpoint(run, 2) / name)
    with pytest.raises(UserError, match=rf"{name}: damaged"):
        load_model(find_checkpoint(checkpoint(run, 2)))


@pytest.mark.parametrize("name", ["manifest.json", "model.safetensors", "config.json"])
def test_an_incomplete_checkpoint_is_refused_with_the_name_of_the_file(run: Path, name: str) -> None:
    (checkpoint(run, 2) / name).unlink()
    with pytest.raises(UserError, match=name):
        load_model(find_checkpoint(checkpoint(run, 2)))


def test_weights_that_do_not_fit_the_network_are_refused(tmp_path: Path, tiny_config: VocoderConfig) -> None:
    weights = build_model(tiny_config).state_dict()
    weights["wavenet.hidden.bias"] = weights["wavenet.hidden.bias"][1:].clone()
    save_checkpoint(tmp_path / "old", tiny_config, {"model": weights}, {"step": 1, "dev_bits": 7.0})
    with pytest.raises(UserError, match="old: its weights do not fit this version's network; retrain it"):
        load_model(find_checkpoint(tmp_path / "old"))


def test_a_checkpoint_without_the_train_state_loads(run: Path) -> None:
    (checkpoint(run, 2) / "train_state.pt").unlink()
    assert step_of(load_model(find_checkpoint(checkpoint(run, 2)))) == 2


def test_directories_that_are_missing_empty_or_all_damaged_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        load_model(find_checkpoint(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no manifest\.json"):
        load_model(find_checkpoint(tmp_path / "empty"))
    for step in (1, 2, 3):
        flip_a_bit(checkpoint(run, step) / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: damaged"):
        load_model(find_checkpoint(run))
