"""Conditioning, WaveNet and distribution put together: what is trained, checkpointed and run.

B batch, T samples, F frames, H hop length, P distribution parameters, R receptive field in samples.

Sample x[t] is predicted from x[<t] and the conditioning at t. Before an utterance there is silence:
zeros, and its first mel frame repeated. Training segments and generation both begin that way.
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
from vocoder.model.conditioning import MelConditioning, NoConditioning
from vocoder.model.linear_prediction import LinearPrediction, Predictor
from vocoder.model.wavenet import WaveNet


@dataclass
class Conditioning:
    """What is known of T samples before any of them is drawn."""

    channels: Tensor  # [B, T, C]
    predictor: Predictor | None = None

    def __getitem__(self, time: slice) -> "Conditioning":
        return Conditioning(self.channels[:, time], self.predictor[time] if self.predictor else None)


@dataclass
class FrameConditioning:
    """The same, before it is spread over samples."""

    knots: Tensor  # [B, F, J, C], between which the channels go as the conditioning's `motion` says
    filters: Tensor | None = None  # [B, F, U, K + 1], of the linear prediction


class VocoderModel(nn.Module):
    """A WaveNet conditioned on mel frames (and, if it has any, on a speaker)."""

    def __init__(
        self,
        spec: MelSpec,
        conditioning: MelConditioning | NoConditioning,
        wavenet: WaveNet,
        distribution: Distribution,
        speakers: Sequence[str] = (),
        speaker_channels: int = 0,
        linear_prediction: LinearPrediction | None = None,
    ) -> None:
        super().__init__()
        if linear_prediction is not None and not isinstance(distribution, LocationScale):
            raise UserError(
                "model.linear_prediction.kind=mel: moves and scales what is predicted, and this distribution has no "
                "location and no scale; set model.linear_prediction.kind=none, or take another one"
            )
        self.spec = spec
        self.conditioning = conditioning
        self.wavenet = wavenet
        self.distribution = distribution
        self.linear_prediction = linear_prediction
        self.speakers = tuple(speakers)
        self.speaker_embedding = nn.Embedding(len(speakers), speaker_channels) if speaker_channels else None

    @property
    def receptive_field(self) -> int:
        """R: how many past samples a prediction depends on."""
        order = self.linear_prediction.order if self.linear_prediction else 0
        return self.wavenet.receptive_field + order

    @property
    def history_frames(self) -> int:
        """Whole frames that hold the receptive field."""
        return math.ceil(self.receptive_field / self.spec.hop_length)

    @property
    def context_frames(self) -> int:
        """Mel frames to either side of a frame that its samples are conditioned on."""
        return self.conditioning.context_frames

    def forward(self, waves: Tensor, mel: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Parameters of the distribution of each sample after the history, given the true past.

        Args:
            waves: grid samples [B, (history_frames + F) H], the last F H of them to be predicted.
            mel: the frames of `waves` and their context [B, n_mels, context + history_frames + F + context].
            speaker: indices [B] into `speakers`, where the model has any.

        Returns:
            params [B, P, F H].
        """
        conditioning = (self._knots(mel, speaker), self.conditioning.motion)
        everywhere = self._predictor(mel)
        before = self.history_frames * self.spec.hop_length
        first = before - self.wavenet.receptive_field  # the oldest sample that the network hears
        previous = waves[:, first:-1]
        if everywhere is None:
            return self.wavenet(network_inputs(previous), *conditioning).transpose(1, 2)
        predictor, prediction = self._predict(waves, everywhere, first)
        residual = predictor[:-1].residual(previous, prediction[:, :-1])
        inputs = network_inputs(previous, prediction[:, 1:], residual)
        params = self.wavenet(inputs, *conditioning).transpose(1, 2)
        return self.relative_to(prediction[:, before - first :], predictor[before - first :], params)

    def condition(self, mel: Tensor, speaker: Tensor | None = None) -> Conditioning:
        """What is known beforehand of F H samples, from mel [B, n_mels, F + 2 context]."""
        return Conditioning(self._with_speaker(self.conditioning(mel), speaker), self._predictor(mel))

    def condition_frames(self, mel: Tensor, speaker: Tensor | None = None) -> "FrameConditioning":
        """The same before it is spread over samples, from mel [B, n_mels, F + 2 context]."""
        filters = self.linear_prediction.filters(self._heard_by_prediction(mel)) if self.linear_prediction else None
        return FrameConditioning(self._knots(mel, speaker), filters)

    def _knots(self, mel: Tensor, speaker: Tensor | None) -> Tensor:
        """[B, F, J, C], the speaker's channels with those of the mel."""
        knots = self.conditioning.knots(mel)
        return self._with_speaker(knots.flatten(1, 2), speaker).unflatten(1, knots.shape[1:3])

    def relative_to(self, prediction: Tensor, predictor: Predictor, params: Tensor) -> Tensor:
        """Parameters of the samples [B, P, T], given those of their residuals: x = p + g e, with p and g [B, T]."""
        distribution = cast(LocationScale, self.distribution)
        return distribution.affine(params, prediction, predictor.log_gain)

    def _with_speaker(self, channels: Tensor, speaker: Tensor | None) -> Tensor:
        """Channels [B, T, C] and, where the model has speakers, the channels of the speaker."""
        if self.speaker_embedding is None:
            return channels
        if speaker is None:
            raise UserError(f"this model has speakers: name one of {', '.join(self.speakers)}")
        embedded = self.speaker_embedding(speaker)[:, None].expand(-1, channels.shape[1], -1)
        return torch.cat((channels, embedded.to(channels.dtype)), -1)

    def _predictor(self, mel: Tensor) -> Predictor | None:
        return self.linear_prediction(self._heard_by_prediction(mel)) if self.linear_prediction else None

    def _heard_by_prediction(self, mel: Tensor) -> Tensor:
        """Of mel with the conditioning's context, the part with that of the linear prediction."""
        beyond = self.context_frames - LinearPrediction.context_frames
        return mel[..., beyond : mel.shape[2] - beyond]

    def _predict(self, waves: Tensor, predictor: Predictor, first: int) -> tuple[Predictor, Tensor]:
        """(predictor, prediction [B, T]) of waves from sample `first` on, which has K samples before it."""
        predictor = predictor[first:]
        past = waves[:, first - predictor.order : -1].unfold(1, predictor.order, 1)  # [B, T, K]
        return predictor, predictor.predict(past)

    @torch.no_grad()
    def innovation(self, waves: Tensor, mel: Tensor) -> Tensor:
        """What the network has to foretell of samples after the history, arguments as `forward` -> [B, F H].

        The samples themselves; with linear prediction their residuals.
        """
        before = self.history_frames * self.spec.hop_length
        waves = self.distribution.grid.round(waves)
        everywhere = self._predictor(mel)
        if everywhere is None:
            return waves[:, before:]
        predictor, prediction = self._predict(waves, everywhere, before)
        return predictor.residual(waves[:, before:], prediction)

    def log_prob(self, waves: Tensor, mel: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Log-probability in nats of every sample after the history: as `forward` -> [B, F H]."""
        params, target = self.predict(waves, mel, speaker)
        return self.distribution.log_prob(params, target)

    def predict(self, waves: Tensor, mel: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(params [B, P, F H], the samples they are to foretell [B, F H]), arguments as `forward`.

        Waves of any grid are brought to the distribution's own first: it is these samples that are foretold and heard.
        """
        waves = self.distribution.grid.round(waves)
        params = self(waves, mel, speaker)
        return params, waves[:, -params.shape[2] :]

    @torch.no_grad()
    def initialise_output(self, innovation: Tensor) -> None:
        """Let an untrained network predict the histogram of `innovation` [N], so that training starts there."""
        output = self.wavenet.output
        output.weight.mul_(0.1)
        output.bias.copy_(self._marginal_params(innovation))

    def _marginal_params(self, innovation: Tensor) -> Tensor:
        if self.linear_prediction is None:
            return self.distribution.marginal_params(innovation)
        scale = innovation.abs().quantile(0.999).clamp(min=1.0)[None, None]  # residuals reach beyond [-1, 1]
        fitted = self.distribution.marginal_params((innovation / scale[0]).clamp(-1, 1))[None, :, None]
        distribution = cast(LocationScale, self.distribution)
        return distribution.affine(fitted, torch.zeros_like(scale), scale.log())[0, :, 0]

    def set_mel_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Fix the normalisation of the mel from per-band statistics [n_mels] of the training data."""
        if isinstance(self.conditioning, MelConditioning):
            self.conditioning.set_statistics(mean, std)

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
        """Where the weights are, and mels have to be."""
        return self.wavenet.output.weight.device

    def describe(self) -> str:
        """Parameter count and receptive field, for people."""
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
        )


def network_inputs(previous: Tensor, prediction: Tensor | None = None, residual: Tensor | None = None) -> Tensor:
    """What the network hears, of about unit size: x[t - 1] and, with linear prediction, p[t] and e[t - 1].

    Each [...] -> [..., 1] or [..., 3]. A residual can be huge where the mel says silence and there is none; tanh keeps
    it in bounds.
    """
    if prediction is None or residual is None:
        return 4 * previous.unsqueeze(-1)
    return 4 * torch.stack((previous, prediction, (residual / 4).tanh() / 2), -1)


def input_channels(linear_prediction: bool) -> int:
    """How many numbers `network_inputs` gives for a sample."""
    return 3 if linear_prediction else 1


def extend_edges(mel: Tensor, before: int, after: int) -> Tensor:
    """Repeat the first and last frame of mel [B, n_mels, F], as if the sound outside went on like them."""
    return F.pad(mel, (before, after), mode="replicate") if before or after else mel
