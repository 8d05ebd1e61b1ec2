"""The objective: the exact likelihood, plus the weighted spectral distance of a straight-through draw."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from vocoder.evaluation.spectral import multi_resolution_stft_distance
from vocoder.training import Trainer
from vocoder.training.config import BatchConfig, LossConfig

MakeTrainer = Callable[..., Trainer]
BATCH = BatchConfig(size=2, segment_frames=12)  # 2400 samples: the longest window needs more than 1024


def with_weight(make_trainer: MakeTrainer, weight: float, **changes: Any) -> Trainer:
    return make_trainer(batch=BATCH, loss=LossConfig(spectral_weight=weight), **changes)


def test_without_spectral_weight_the_loss_is_the_likelihood_alone(make_trainer: MakeTrainer) -> None:
    trainer = with_weight(make_trainer, 0.0)
    batch = trainer.data[0]
    expected = -trainer.model.log_prob(batch.waves, batch.mel, batch.speaker).mean()
    assert torch.equal(trainer.objective(batch, trainer.state.next_batch), expected)


def test_the_spectral_weight_adds_the_weighted_distance_of_a_draw(make_trainer: MakeTrainer) -> None:
    trainer = with_weight(make_trainer, 0.25)
    batch = trainer.data[0]
    params, target = trainer.model.params_and_target(batch.waves, batch.mel, batch.speaker)
    likelihood = -trainer.model.distribution.log_prob(params, target).mean()
    distances = []
    for seed in range(5):  # other noise, the same distribution
        u = torch.rand(2, trainer.model.distribution.uniforms, 2400, generator=torch.Generator().manual_seed(seed))
        distances.append(multi_resolution_stft_distance(trainer.model.distribution.sample(params, u), target).item())
    added = (trainer.objective(batch, trainer.state.next_batch) - likelihood).item()
    assert 0.9 * min(distances) < added / 0.25 < 1.1 * max(distances)


def test_the_noise_of_the_draw_is_a_function_of_seed_and_step(make_trainer: MakeTrainer) -> None:
    one, other = with_weight(make_trainer, 0.5), with_weight(make_trainer, 0.5)
    batch = one.data[0]
    torch.rand(7)  # the global generator's state must not matter
    assert torch.equal(one.objective(batch, 0), other.objective(batch, 0))
    assert not torch.equal(one.objective(batch, 0), other.objective(batch, 1))


def test_parts_of_a_batch_draw_the_same_as_the_whole_batch(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = with_weight(make_trainer, 0.5)
    drawn: list[torch.Tensor] = []
    monkeypatch.setattr(
        "vocoder.training.objective.multi_resolution_stft_distance",
        lambda draw, target: drawn.append(draw.detach()) or draw.sum() * 0,
    )
    batch = trainer.data[0]
    trainer.objective(batch, trainer.state.next_batch)
    for part in batch.split(2):
        trainer.objective(part, trainer.state.next_batch)
    torch.testing.assert_close(torch.cat(drawn[1:]), drawn[0], rtol=0, atol=1e-4)
    assert not torch.equal(drawn[1], drawn[2])


def test_a_loss_with_a_spectral_term_is_not_reported_in_bits(make_trainer: MakeTrainer) -> None:
    assert with_weight(make_trainer, 0.0).objective.is_likelihood
    assert not with_weight(make_trainer, 0.1).objective.is_likelihood


def test_training_with_the_spectral_loss_reduces_the_distance(make_trainer: MakeTrainer) -> None:
    def distance_after(weight: float) -> float:
        trainer = with_weight(make_trainer, weight)
        for _ in range(40):
            trainer.train_step(trainer.data[trainer.step])
        batch = trainer.data[1000]
        params, target = trainer.model.params_and_target(batch.waves, batch.mel, batch.speaker)
        u = torch.rand(2, trainer.model.distribution.uniforms, 2400, generator=torch.Generator().manual_seed(0))
        return multi_resolution_stft_distance(trainer.model.distribution.sample(params, u), target).item()

    assert distance_after(20.0) < distance_after(0.0)
