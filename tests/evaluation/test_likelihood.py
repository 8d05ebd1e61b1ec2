"""Bits per sample of utterances: the sum of the model's log-probabilities, and the two kinds of average."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vocoder.data.store import Store
from vocoder.evaluation.likelihood import Likelihood, likelihood
from vocoder.model import VocoderConfig, build_model, extend_edges


def test_per_sample_weights_by_length_and_per_utterance_weights_equally() -> None:
    found = Likelihood(np.array([800.0, 90.0]), np.array([100, 10]))
    assert found.per_sample == pytest.approx(890 / 110)
    assert found.per_utterance == pytest.approx(8.5)


@pytest.mark.parametrize("piece", [3, 100_000])
def test_bits_in_pieces_equal_those_of_the_whole_utterance(
    speech_store: Store, tiny_config: VocoderConfig, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr("vocoder.evaluation.likelihood.PIECE_FRAMES", piece)
    torch.manual_seed(0)
    model = build_model(replace(tiny_config, mel=speech_store.spec)).eval()
    entries = speech_store.entries[:2]
    found = likelihood(model, speech_store, entries)
    for entry, bits, samples in zip(entries, found.bits, found.samples, strict=True):
        utterance = speech_store.read(entry)
        level = 2 * (utterance.wave.astype(np.float64) + 32768) / 65535 - 1
        silence = np.zeros(model.history_frames * 200)
        waves = torch.from_numpy(np.concatenate([silence, level])).float()[None]
        mel = torch.from_numpy(utterance.mel.T.copy())[None]
        mel = extend_edges(mel, model.context_frames + model.history_frames, model.context_frames)
        with torch.no_grad():
            expected = -model.log_prob(waves, mel).double().sum() / math.log(2)
        assert samples == utterance.wave.size
        assert bits == pytest.approx(float(expected), rel=1e-6)
