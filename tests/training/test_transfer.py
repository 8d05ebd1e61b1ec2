"""Fine-tuning: another model's weights are loaded where they match, and the others are reported."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.training_state import train

from vocoder.errors import UserError
from vocoder.model import VocoderConfig, build_model, find_checkpoint, load_model, save_checkpoint
from vocoder.model.checkpoint import open_checkpoint
from vocoder.training import Trainer
from vocoder.training.config import LengthConfig
from vocoder.training.transfer import config_differences, load_matching_weights

MakeTrainer = Callable[..., Trainer]


def saved(config: VocoderConfig, directory: Path) -> Path:
    torch.manual_seed(9)
    weights = build_model(config).state_dict()
    save_checkpoint(directory, config, {"model": weights, "ema": weights}, {"step": 5, "dev_bits": 8.0})
    return directory


def with_speakers(config: VocoderConfig, *speakers: str) -> VocoderConfig:
    return replace(config, speakers=speakers, model=replace(config.model, speaker_channels=4))


def test_weights_of_the_same_network_are_all_loaded(
    make_trainer: MakeTrainer, config: VocoderConfig, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(saved(config, tmp_path / "other"))
    trainer = make_trainer()
    assert load_matching_weights(trainer.model, checkpoint) == []
    expected = load_model(checkpoint).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in trainer.model.state_dict().items())
    assert config_differences(config.to_json(), checkpoint) == []


def test_weights_that_do_not_match_stay_new_and_are_reported(config: VocoderConfig, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(saved(config, tmp_path / "other"))
    sizes = replace(config.model.wavenet, layers=8, skip_channels=12)
    wider = replace(config, model=replace(config.model, wavenet=sizes))
    model = build_model(wider)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    lines = load_matching_weights(model, checkpoint)
    theirs = checkpoint.weights("ema")
    for name, tensor in model.state_dict().items():
        same = name in theirs and theirs[name].shape == tensor.shape
        assert torch.equal(tensor, theirs[name] if same else before[name])
        assert same is not any(line.startswith(f"new: {name} ") for line in lines)
    assert "new: layers.7" in " ".join(lines).replace("wavenet.", "")
    assert "new: wavenet.hidden.weight [12, 12], [10, 10] there" in lines
    assert "model.wavenet.layers 6 then, 8 now" in config_differences(wider.to_json(), checkpoint)


def test_speakers_are_matched_by_name(config: VocoderConfig, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(saved(with_speakers(config, "ann", "bob"), tmp_path / "other"))
    model = build_model(with_speakers(config, "bob", "eve"))
    eve = model.speaker_embedding.weight[1].clone()
    assert load_matching_weights(model, checkpoint) == ["new: the speaker eve"]
    assert torch.equal(model.speaker_embedding.weight[0], checkpoint.weights("ema")["speaker_embedding.weight"][1])
    assert torch.equal(model.speaker_embedding.weight[1], eve)


def test_a_directory_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        find_checkpoint(tmp_path)


def test_the_average_of_a_fine_tuned_run_starts_with_the_loaded_weights(
    make_trainer: MakeTrainer, config: VocoderConfig, tmp_path: Path
) -> None:
    trainer = make_trainer(length=LengthConfig(steps=1))
    load_matching_weights(trainer.model, open_checkpoint(saved(config, tmp_path / "other")))
    trainer.ema_model().load_state_dict(trainer.model.state_dict())
    train(trainer, tmp_path / "run")
    assert open_checkpoint(tmp_path / "run/checkpoints/step-00000000").dev_bits > 0
