"""Conditioning, WaveNet and distribution put together: what is trained, checkpointed and run.

B batch, T samples, F frames, H hop length, P distribution parameters, R receptive field in samples.

Sample x[t] is predicted from x[<t] and the conditioning at t. Before an utterance there is silence:
zeros, and its first mel frame repeated. Training segments and generation both begin that way.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vocoder.distributions import Distribution
from vocoder.errors import UserError
from vocoder.mel import MelSpec
from vocoder.model.conditioning import MelConditioning, NoConditioning
from vocoder.model.wavenet import WaveNet


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
    ) -> None:
        super().__init__()
        self.spec = spec
        self.conditioning = conditioning
        self.wavenet = wavenet
        self.distribution = distribution
        self.speakers = tuple(speakers)
        self.speaker_embedding = nn.Embedding(len(speakers), speaker_channels) if speaker_channels else None

    @property
    def receptive_field(self) -> int:
        """R: how many past samples a prediction depends on."""
        return self.wavenet.receptive_field

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
        beyond = self.history_frames * self.spec.hop_length - self.receptive_field
        previous = waves[:, beyond:-1]  # x[t - 1] for each t: [B, R - 1 + F H]
        conditioning = self.condition(mel, speaker)[:, beyond + 1 :]
        return self.wavenet(previous.unsqueeze(-1), conditioning).transpose(1, 2)

    def condition(self, mel: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Conditioning at the sample rate: mel [B, n_mels, F + 2 context] -> [B, F H, C]."""
        conditioning = self.conditioning(mel)
        if self.speaker_embedding is None:
            return conditioning
        if speaker is None:
            raise UserError(f"this model has speakers: name one of {', '.join(self.speakers)}")
        embedded = self.speaker_embedding(speaker)[:, None].expand(-1, conditioning.shape[1], -1)
        return torch.cat((conditioning, embedded.to(conditioning.dtype)), -1)

    def log_prob(self, waves: Tensor, mel: Tensor, speaker: Tensor | None = None) -> Tensor:
        """Log-probability in nats of every sample after the history: as `forward` -> [B, F H]."""
        params = self(waves, mel, speaker)
        return self.distribution.log_prob(params, waves[:, -params.shape[2] :])

    @torch.no_grad()
    def initialise_output(self, samples: Tensor) -> None:
        """Let an untrained network predict the histogram of `samples` [N], so that training starts there."""
        output = self.wavenet.output
        output.weight.mul_(0.1)
        output.bias.copy_(self.distribution.marginal_params(samples))

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
        )


def extend_edges(mel: Tensor, before: int, after: int) -> Tensor:
    """Repeat the first and last frame of mel [B, n_mels, F], as if the sound outside went on like them."""
    return F.pad(mel, (before, after), mode="replicate") if before or after else mel
