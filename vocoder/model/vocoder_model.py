"""The vocoder model: mel conditioning, linear prediction, WaveNet and output distribution.

B batch, T samples, F frames, H hop length, J knots of a frame, C conditioning channels, P distribution parameters,
K order of the linear prediction, U updates of its filter in a frame, I inputs of the WaveNet for each sample.

Sample x[t] is predicted from x[<t] and the conditioning at t. Before an utterance lies silence: zero samples, and its
first mel frame repeated. Training segments and generation both begin that way.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.distributions import Distribution, LocationScale
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.features.pre_emphasis import PreEmphasis
from vocoder.features.recognition import MelStatistics
from vocoder.model.conditioning import MelConditioning, NoConditioning
from vocoder.model.interpolation import PiecewiseLinear
from vocoder.model.linear_prediction import LinearPrediction, Prediction
from vocoder.model.one_hot import OneHot
from vocoder.model.wavenet import WaveNet


@dataclass
class Conditioning:
    """What the mel and the speaker give the network for F frames, before any of their samples is drawn."""

    signal: PiecewiseLinear  # conditioning channels of F H samples, the speaker's included
    filters: Tensor | None = None  # of the linear prediction [B, F, U, K + 1]


class VocoderModel(nn.Module):
    """A WaveNet conditioned on mel frames and, in models with speakers, on a speaker."""

    def __init__(
        self,
        spec: MelSpec,
        conditioning: MelConditioning | NoConditioning,
        wavenet: WaveNet,
        distribution: Distribution,
        speakers: Sequence[str] = (),
        speaker_channels: int = 0,
        linear_prediction: LinearPrediction | None = None,
        one_hot: OneHot | None = None,
        pre_emphasis: PreEmphasis = PreEmphasis(),  # noqa: B008
    ) -> None:
        super().__init__()
        if linear_prediction is not None and not isinstance(distribution, LocationScale):
            raise UserError(
                "model.linear_prediction.kind=mel: shifts and scales the output distribution, and this one has no "
                "location and no scale; set model.linear_prediction.kind=none, or choose another distribution"
            )
        self.spec = spec
        self.conditioning = conditioning
        self.wavenet = wavenet
        self.distribution = distribution
        self.linear_prediction = linear_prediction
        self.one_hot = one_hot
        self.pre_emphasis = pre_emphasis  # of all samples that are given to this model, and that it generates
        self.speakers = tuple(speakers)
        self.speaker_embedding = nn.Embedding(len(speakers), speaker_channels) if speaker_channels else None

    @property
    def receptive_field(self) -> int:
        """The number of past samples that a prediction depends on, at the first sample of a step."""
        order = self.linear_prediction.order if self.linear_prediction else 0
        return self.wavenet.receptive_field + order

    @property
    def history_frames(self) -> int:
        """The receptive field in frames, rounded up."""
        return math.ceil(self.receptive_field / self.spec.hop_length)

    @property
    def context_frames(self) -> int:
        """Mel frames on each side of a frame that condition its samples too."""
        return self.conditioning.context_frames

    def forward(self, waves: Tensor, mel: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Parameters of the distribution of each sample after the history, given the true past.

        Args:
            waves: grid samples [B, (history_frames + F) H], of which the last F H are predicted.
            mel: the frames of `waves` and their context [B, n_mels, context + history_frames + F + context].
            speaker: indices [B] into `speakers`, where the model has any.

        Returns:
            params [B, P, F H].
        """
        params, prediction = self._params_and_prediction(waves, mel, speaker)
        return params if prediction is None else self.shift_and_scale(params, prediction)

    def _params_and_prediction(
        self, waves: Tensor, mel: Tensor, speaker: Tensor | None
    ) -> tuple[Tensor, Prediction | None]:
        """Parameters [B, P, F H] as the network emits them, those of the excitation where there is a prediction."""
        conditioning = self.condition(mel, speaker)
        inputs, prediction = self.inputs_and_prediction(waves, conditioning)
        return self.wavenet(inputs, conditioning.signal).transpose(1, 2), prediction

    def condition(self, mel: Tensor, speaker: Tensor | None = None) -> Conditioning:
        """What the samples of mel [B, n_mels, F + 2 context] are conditioned on; engines are given the same."""
        knots = self._with_speaker(self.conditioning(mel), speaker)
        filters = self._filters(mel) if self.linear_prediction else None
        return Conditioning(PiecewiseLinear(knots, self.conditioning.interpolation), filters)

    def inputs_and_prediction(self, waves: Tensor, conditioning: Conditioning) -> tuple[Tensor, Prediction | None]:
        """The WaveNet's inputs [B, receptive_field - 1 + F H, I], and the linear prediction of the last F H samples.

        Waves as in `forward`; the receptive field is the WaveNet's own. Without linear prediction the second is None.
        """
        before = self.history_frames * self.spec.hop_length
        first = before - self.wavenet.receptive_field  # the oldest sample that reaches the network
        previous = waves[:, first:-1]  # x[t - 1]
        if self.linear_prediction is None or conditioning.filters is None:
            return self.network_inputs(previous), None
        prediction = self.linear_prediction.predict(waves, conditioning.filters, first)
        excitation = prediction[:-1].excitation(previous)  # e[t - 1]
        return self.network_inputs(previous, prediction.mean[:, 1:], excitation), prediction[before - first :]

    def network_inputs(
        self, previous: Tensor, prediction: Tensor | None = None, excitation: Tensor | None = None
    ) -> Tensor:
        """The WaveNet's inputs [..., I] from x[t - 1] and, with linear prediction, p[t] and e[t - 1], each [...]."""
        if self.one_hot is not None:
            inputs: Tensor = self.one_hot(previous)
            return inputs
        return network_inputs(previous, prediction, excitation)

    def shift_and_scale(self, params: Tensor, prediction: Prediction) -> Tensor:
        """Parameters of the samples x = p + g e from those of their excitation e, both [B, P, T]."""
        distribution = cast(LocationScale, self.distribution)
        return distribution.affine(params, prediction.mean, prediction.log_gain)

    def _filters(self, mel: Tensor) -> Tensor:
        """Filters [B, F, U, K + 1] from mel with the conditioning's context, which is wider than theirs."""
        assert self.linear_prediction is not None
        surplus = self.context_frames - self.linear_prediction.context_frames
        filters: Tensor = self.linear_prediction(mel[..., surplus : mel.shape[2] - surplus])
        return filters

    def _with_speaker(self, knots: Tensor, speaker: Tensor | None) -> Tensor:
        """Knots [B, F, J, C] with the channels of the speaker, where the model has speakers."""
        if self.speaker_embedding is None:
            return knots
        if speaker is None:
            raise UserError(f"this model has speakers: name one of {', '.join(self.speakers)}")
        embedded = self.speaker_embedding(speaker)[:, None, None].expand(-1, *knots.shape[1:3], -1)
        return torch.cat((knots, embedded.to(knots.dtype)), -1)

    @torch.no_grad()
    def excitation(self, waves: Tensor, mel: Tensor) -> Tensor:
        """What remains to be predicted of the samples after the history, arguments as `forward` -> [B, F H].

        The samples themselves; with linear prediction their excitation.
        """
        before = self.history_frames * self.spec.hop_length
        waves = self.distribution.grid.round(waves)
        if self.linear_prediction is None:
            return waves[:, before:]
        return self.linear_prediction.predict(waves, self._filters(mel), before).excitation(waves[:, before:])

    def log_prob(self, waves: Tensor, mel: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Log-probability in nats of every sample after the history: as `forward` -> [B, F H].

        Waves are first rounded to the distribution's grid.
        """
        waves = self.distribution.grid.round(waves)
        params, prediction = self._params_and_prediction(waves, mel, speaker)
        target = waves[:, -params.shape[2] :]
        if prediction is None:
            return self.distribution.log_prob(params, target)
        distribution = cast(LocationScale, self.distribution)
        return distribution.affine_log_prob(params, prediction.mean, prediction.log_gain, target)

    def params_and_target(self, waves: Tensor, mel: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(params [B, P, F H], the samples that they predict [B, F H]), arguments as `forward`.

        Waves are first rounded to the distribution's grid, whichever grid they come on.
        """
        waves = self.distribution.grid.round(waves)
        params = self(waves, mel, speaker)
        return params, waves[:, -params.shape[2] :]

    @torch.no_grad()
    def initialise_output(self, excitation: Tensor) -> None:
        """Let an untrained network predict the histogram of `excitation` [N], the best it can do without its inputs."""
        output = self.wavenet.output
        output.weight.mul_(0.1)  # so that the bias decides, and gradients still pass
        output.bias.copy_(self._marginal_params(excitation))

    def _marginal_params(self, excitation: Tensor) -> Tensor:
        if self.linear_prediction is None:
            return self.distribution.marginal_params(excitation)
        scale = excitation.abs().quantile(0.999).clamp(min=1.0)[None, None]  # an excitation reaches beyond [-1, 1]
        fitted = self.distribution.marginal_params((excitation / scale[0]).clamp(-1, 1))[None, :, None]
        distribution = cast(LocationScale, self.distribution)
        return distribution.affine(fitted, torch.zeros_like(scale), scale.log())[0, :, 0]

    def set_mel_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Set the normalisation of the mel from per-band statistics [n_mels] of the training data."""
        if isinstance(self.conditioning, MelConditioning):
            self.conditioning.set_statistics(mean, std)

    @property
    def mel_statistics(self) -> MelStatistics | None:
        """Mean and standard deviation of each band of the training data; None where the model has none."""
        conditioning = self.conditioning
        if not isinstance(conditioning, MelConditioning):
            return None
        mean, std = (values[:, 0].double().tolist() for values in (conditioning.mean, conditioning.std))
        is_untrained = not any(mean) and set(std) == {1.0}
        return None if is_untrained else MelStatistics(tuple(mean), tuple(std))

    def speaker_name(self, name: str | None) -> str | None:
        """The speaker of an utterance, as this model takes it: None for a model without speakers."""
        return None if self.speaker_embedding is None else name

    def speaker_index(self, name: str | None) -> Tensor | None:
        """The index [1] of a speaker's name; None for a model without speakers.

        Raises:
            UserError: the model has no such speaker, or needs one.
        """
        if self.speaker_embedding is None:
            if name is None:
                return None
            raise UserError(f"speaker={name}: this model was trained without speakers; leave it out")
        if name not in self.speakers:
            raise UserError(f"speaker={name}: this model's speakers are {', '.join(self.speakers)}")
        return torch.tensor([self.speakers.index(name)], device=self.speaker_embedding.weight.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are; inputs must be there too."""
        return self.wavenet.output.weight.device

    def describe(self) -> str:
        """Parameter count, receptive field, conditioning and samples per step, in one line for users."""
        parameters = sum(parameter.numel() for parameter in self.parameters())
        milliseconds = 1000 * self.receptive_field / self.spec.sample_rate
        return (
            f"{parameters / 1e6:.2f} M parameters, receptive field {self.receptive_field} samples "
            f"({milliseconds:.1f} ms at {self.spec.sample_rate} Hz), conditioned on "
            + (
                f"mel frames -{self.context_frames}..+{self.context_frames}"
                if self.conditioning.channels
                else "nothing"
            )
            + (f" and {len(self.speakers)} speakers" if self.speaker_embedding is not None else "")
            + (f", linear prediction of order {self.linear_prediction.order}" if self.linear_prediction else "")
            + self._describe_steps()
        )

    def _describe_steps(self) -> str:
        K, context = self.wavenet.samples_per_step, self.wavenet.head_context
        return f", layers run once for {K} samples, a head that hears {context} for each" if K > 1 else ""


def network_inputs(previous: Tensor, prediction: Tensor | None = None, excitation: Tensor | None = None) -> Tensor:
    """The WaveNet's inputs, of about unit size: x[t - 1] and, with linear prediction, p[t] and e[t - 1].

    Each [...] -> [..., 1] or [..., 3]. If the mel says silence but the waveform is not silent, the excitation is huge;
    tanh bounds it.
    """
    if prediction is None or excitation is None:
        return 4 * previous.unsqueeze(-1)
    return 4 * torch.stack((previous, prediction, (excitation / 4).tanh() / 2), -1)


def input_channels(linear_prediction: bool) -> int:
    """Numbers per sample in `network_inputs`."""
    return 3 if linear_prediction else 1


def extend_edges(mel: Tensor, before: int, after: int) -> Tensor:
    """Pad mel [B, n_mels, F] with copies of its first and last frame."""
    return F.pad(mel, (before, after), mode="replicate") if before or after else mel
