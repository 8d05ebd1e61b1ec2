"""Models, stores and options that do not fit together are refused before training."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from vocoder.errors import UserError
from vocoder.features.mel import PRESETS
from vocoder.model import VocoderConfig
from vocoder.training import Trainer, World
from vocoder.training.checks import check_compatible
from vocoder.training.config import BatchConfig, LossConfig

MakeTrainer = Callable[..., Trainer]


def test_a_store_with_other_mels_than_the_models_is_refused(make_trainer: MakeTrainer, config: VocoderConfig) -> None:
    with pytest.raises(UserError, match=r"sample_rate 16000 / 22050"):
        make_trainer(model=replace(config, mel=PRESETS["hifigan_22k"]))


def test_segments_too_short_for_the_spectral_loss_are_refused(make_trainer: MakeTrainer) -> None:
    with pytest.raises(UserError, match=r"segment_frames=5: 1000 samples are too few.*take 6 or more"):
        make_trainer(batch=BatchConfig(size=2, segment_frames=5), loss=LossConfig(spectral_weight=0.1))


def test_a_batch_is_divisible_by_the_number_of_processes(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    check_compatible(trainer.vocoder_config, trainer.store, trainer.config, World(0, 2))
    with pytest.raises(UserError, match=r"batch\.size=4: .* all 3 processes together; take a multiple of 3"):
        check_compatible(trainer.vocoder_config, trainer.store, trainer.config, World(0, 3))
