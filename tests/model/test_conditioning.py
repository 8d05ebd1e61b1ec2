"""Mel conditioning: normalisation, speakers, and none at all."""

import pytest
import torch
from support.small_model import HOP, N_MELS, random_utterance, small_model

from vocoder.errors import UserError
from vocoder.model.conditioning import MelConditioning
from vocoder.model.config import (
    ConditioningConfig,
)
from vocoder.model.interpolation import LinearUpsample
from vocoder.model.vocoder_model import extend_edges


def test_mel_statistics_normalise_each_band_and_are_part_of_the_state_dict() -> None:
    torch.manual_seed(6)
    one, two = (MelConditioning(N_MELS, 4, 2, LinearUpsample(HOP)) for _ in range(2))
    mean, std = torch.arange(N_MELS) - 8.0, torch.rand(N_MELS) + 1
    mel = torch.randn(1, N_MELS, 9)
    expected = one(mel)
    one.set_statistics(mean, std)
    torch.testing.assert_close(one(mel * std[:, None] + mean[:, None]), expected, rtol=0, atol=1e-5)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(mel), two(mel))


def test_a_constant_band_stays_finite() -> None:
    conditioning = MelConditioning(N_MELS, 4, 2, LinearUpsample(HOP))
    conditioning.set_statistics(torch.full((N_MELS,), -11.5), torch.zeros(N_MELS))
    assert conditioning(torch.full((1, N_MELS, 9), -11.5)).isfinite().all()


def test_extend_edges_repeats_the_first_and_last_frame() -> None:
    mel = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert extend_edges(mel, 2, 1).tolist() == [[[1, 1, 1, 2, 3, 3]]]
    assert extend_edges(mel, 0, 0) is mel


def test_speakers_change_what_is_predicted() -> None:
    model = small_model(speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = random_utterance(model, frames=2, batch=2)
    ann, bob = model.speaker_index("ann"), model.speaker_index("bob")
    assert ann is not None
    assert bob is not None
    both = model(waves, mel, torch.cat((ann, bob)))
    assert not torch.equal(model(waves[:1], mel[:1], ann), model(waves[:1], mel[:1], bob))
    torch.testing.assert_close(both[:1], model(waves[:1], mel[:1], ann), rtol=0, atol=1e-5)
    torch.testing.assert_close(both[1:], model(waves[1:], mel[1:], bob), rtol=0, atol=1e-5)


def test_a_missing_or_unknown_speaker_is_refused_and_the_known_ones_named() -> None:
    model = small_model(speakers=("ann", "bob"), speaker_channels=4)
    for name in (None, "eve"):
        with pytest.raises(UserError, match="ann, bob"):
            model.speaker_index(name)
    with pytest.raises(UserError, match="ann, bob"):
        model(*random_utterance(model, frames=2))


def test_a_model_without_speakers_refuses_a_speaker() -> None:
    model = small_model(speakers=("ann", "bob"))
    assert model.speaker_index(None) is None
    with pytest.raises(UserError, match="without speakers"):
        model.speaker_index("ann")


def test_an_embedding_without_speakers_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.speaker_channels=4"):
        small_model(speaker_channels=4)


def test_without_conditioning_the_mel_gives_only_the_length() -> None:
    model = small_model(conditioning=ConditioningConfig("none"))
    waves, mel = random_utterance(model, frames=3)
    params = model(waves, mel)
    assert params.shape == (1, 9, 3 * HOP)
    assert torch.equal(params, model(waves, torch.randn_like(mel)))
    assert model.context_frames == 0


def test_speakers_work_without_a_mel() -> None:
    model = small_model(conditioning=ConditioningConfig("none"), speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = random_utterance(model, frames=3)
    ann, bob = (model(waves, mel, model.speaker_index(name)) for name in ("ann", "bob"))
    assert not torch.equal(ann, bob)
