"""Log-mel-spectrograms of waveforms, as a `MelSpec` says.

B batch, T samples, F frames, n_mels bands. A mel of F frames covers exactly F * hop_length samples.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from vocoder.errors import UserError
from vocoder.features.mel_check import check_mel
from vocoder.features.presets import PRESETS, preset_name
from vocoder.features.spec import MelSpec, hann_window, highpass_filter, input_response, mel_filterbank

__all__ = [
    "PRESETS",
    "MelSpec",
    "check_mel",
    "energies",
    "frame_count",
    "hann_window",
    "input_response",
    "log_mel",
    "mel_filterbank",
    "prefiltered",
    "preset_name",
]


def frame_count(samples: int, spec: MelSpec) -> int:
    """The number of whole frames in a waveform of `samples` samples."""
    return samples // spec.hop_length


def log_mel(waveform: Tensor, spec: MelSpec) -> Tensor:
    """Log-mel-spectrogram of whole utterances: waveform [..., T] -> [..., n_mels, F], F = T // hop_length.

    Samples after the last whole frame are dropped first, so that mel and waveform cover the same time.
    Pass whole utterances, not crops: a crop's edges are padded instead of continued with the neighbouring samples.

    Raises:
        UserError: the waveform is too short for the padding.
    """
    frames = frame_count(waveform.shape[-1], spec)
    reach = max(spec.window_reach)
    if frames * spec.hop_length <= reach:
        raise UserError(
            f"{waveform.shape[-1]} samples are too short for a mel-spectrogram: it needs more than "
            f"{reach} ({1000 * reach / spec.sample_rate:.0f} ms)"
        )
    waveform = waveform[..., : frames * spec.hop_length]
    batch = _filtered(waveform.reshape(-1, waveform.shape[-1]), spec)
    spectrum = torch.stft(
        pad(batch, spec.window_reach, mode="reflect" if spec.pad_mode == "reflect" else "constant"),
        spec.n_fft,
        spec.hop_length,
        spec.win_length,
        hann_window(spec, batch.dtype).to(batch.device),
        center=False,
        return_complex=True,
    )  # [B, n_fft/2 + 1, F]
    magnitude = (spectrum.real.square() + spectrum.imag.square() + spec.magnitude_epsilon).sqrt()
    mel = mel_filterbank(spec).to(batch) @ magnitude**spec.power
    return compress(mel, spec).reshape(*waveform.shape[:-1], spec.n_mels, frames)


def compress(energies: Tensor, spec: MelSpec) -> Tensor:
    """Values of the mel, of any shape, from the energies of its bands."""
    guarded = energies + spec.log_floor if spec.log_guard == "add" else energies.clamp(min=spec.log_floor)
    if spec.log_ceiling is not None:
        guarded = guarded.clamp(max=spec.log_ceiling)
    mel = guarded.log10() if spec.log_base == "10" else guarded.log()
    return spec.log_gain * mel + spec.log_offset if (spec.log_gain, spec.log_offset) != (1.0, 0.0) else mel


def energies(mel: Tensor, spec: MelSpec) -> Tensor:
    """The inverse of `compress`, in float64: energies of the bands, of any shape; those at the floor are the floor's.

    With log_guard="add" they can be 0.
    """
    guarded = (spec.power * spec.nepers(mel.double())).exp()
    return (guarded - spec.log_floor).clamp(min=0.0) if spec.log_guard == "add" else guarded


def prefiltered(waveform: np.ndarray, spec: MelSpec) -> np.ndarray:
    """A waveform [T] as the mel hears it: after the spec's high-pass and pre-emphasis."""
    return _filtered(torch.from_numpy(waveform)[None], spec)[0].numpy()


def _filtered(batch: Tensor, spec: MelSpec) -> Tensor:
    """Waves [B, T] after the high-pass and the pre-emphasis of the spec."""
    if spec.highpass:
        taps = torch.from_numpy(highpass_filter(spec)).to(batch)
        batch = conv1d(batch[:, None], taps[None, None], padding="same")[:, 0]
    if spec.preemphasis:
        batch = torch.cat((batch[:, :1], batch[:, 1:] - spec.preemphasis * batch[:, :-1]), 1)
    return batch
