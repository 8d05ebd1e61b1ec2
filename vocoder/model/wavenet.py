"""The WaveNet: past samples and conditioning in, distribution parameters out.

B batch, T samples, K samples per step, N = T / K steps, I inputs of a sample, L samples of head context, R residual,
S skip, C conditioning channels, P parameters.

The dilated layers run once for each step of K samples, and the head once for each sample:

    inputs [B, K receptive steps - 1 + T, I]
        |                     |
    the K newest of each      the L newest of each sample
    step -> embed             |
        |                     |
    dilated layers            |
        |                     |
    skips [B, N, S]           |
        |                     |
    hidden [B, T, S]          |
        +---- head -----------+ -> params [B, T, P]

With K = 1 this is the WaveNet of van den Oord et al. 2016. With larger K the layers' work is shared by K samples, as
in the tiers of SampleRNN (Mehri et al. 2017). Each of the K samples has weights of its own between skips and head: what
the skips say of the next sample is not what they say of the fourth. The head hears the L newest samples, so with
L >= K - 1 each sample is still conditioned on all before it. The likelihood is exact with any L.
"""

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from vocoder.device import to_autocast_dtype, without_autocast
from vocoder.errors import UserError
from vocoder.model.head import HeadLayers, head, head_ref
from vocoder.model.interpolation import PiecewiseLinear
from vocoder.model.residual_layer import ResidualLayer, project


class WaveNet(nn.Module):
    """Stacks of dilated causal convolutions with a two-layer output (van den Oord et al. 2016).

    Dilations double from 1 within a stack. Nothing is padded: the caller supplies the history.
    """

    def __init__(
        self,
        input_channels: int,
        conditioning_channels: int,
        output_channels: int,
        *,
        layers: int,
        stacks: int,
        kernel_size: int,
        residual_channels: int,
        gate_channels: int,
        skip_channels: int,
        dropout: float = 0.0,
        weight_norm: bool = False,
        samples_per_step: int = 1,
        head_context: int = 0,
    ) -> None:
        super().__init__()
        self.input_channels, self.samples_per_step, self.head_context = input_channels, samples_per_step, head_context
        self.kernel_size = kernel_size
        self.residual_channels, self.gate_channels, self.skip_channels = residual_channels, gate_channels, skip_channels
        self.conditioning_channels, self.output_channels = conditioning_channels, output_channels
        self.dropout = dropout
        self.recompute = False  # recompute the layers' activations in the backward pass instead of keeping them
        self.input = nn.Linear(samples_per_step * input_channels, residual_channels)
        self.layers = nn.ModuleList(
            ResidualLayer(
                residual_channels, gate_channels, skip_channels, conditioning_channels, kernel_size, dilation, dropout
            )
            for dilation in dilations(layers, stacks)
        )
        self.hidden = nn.Linear(skip_channels, samples_per_step * skip_channels)
        self.output = nn.Linear(skip_channels, output_channels)
        self.recent = self.mix = None
        if head_context:
            self.recent = nn.Linear(head_context * input_channels, skip_channels)
            self.mix = nn.Linear(skip_channels, skip_channels)
        if head_context > self.receptive_field:
            raise UserError(
                f"model.wavenet.head_context={head_context}: the layers reach {self.receptive_field} samples back; "
                "take no more than that"
            )
        if weight_norm:
            for linear in self._normalised():
                parametrizations.weight_norm(linear)

    def fold_weight_norm(self) -> None:
        """Fold weight norm, if there is any, into plain weights."""
        for linear in self._normalised():
            if parametrize.is_parametrized(linear):
                parametrize.remove_parametrizations(linear, "weight")

    def _normalised(self) -> list[nn.Linear]:
        mix = [self.mix] if self.mix is not None else []
        return [*(linear for layer in self.residual_layers for linear in (layer.gate, layer.out)), self.hidden, *mix]

    @property
    def residual_layers(self) -> list[ResidualLayer]:
        """The layers in order, typed."""
        return cast(list[ResidualLayer], list(self.layers))

    @property
    def receptive_field(self) -> int:
        """How many samples the first prediction of a step depends on; the i-th depends on i more."""
        return self.samples_per_step * (1 + sum(layer.history for layer in self.residual_layers))

    def forward(self, inputs: Tensor, conditioning: PiecewiseLinear) -> Tensor:
        """inputs [B, receptive_field - 1 + T, I], conditioning [B, N, C], up to the same sample -> [B, T, P]."""
        h = self.embed(self.step_inputs(inputs))
        steps = (inputs.shape[1] - (self.receptive_field - 1)) // self.samples_per_step
        skips = inputs.new_zeros(len(inputs), steps, self.skip_channels)
        projected = project(conditioning, self.residual_layers)
        for layer, gate_input in zip(self.residual_layers, projected, strict=True):
            h, skips = layer(h, skips, gate_input, self.recompute)
        return head(self.hidden_of(skips), self.head_inputs(inputs), self._head_layers)

    def step_inputs(self, inputs: Tensor) -> Tensor:
        """For each step the inputs of its first sample and of the K - 1 before it: [B, K n + K - 1, I] -> [B, n, K I].

        Those of its other samples are not known when the step begins.
        """
        K = self.samples_per_step
        return inputs[:, : inputs.shape[1] - (K - 1)].unflatten(1, (-1, K)).flatten(2)

    def head_inputs(self, inputs: Tensor) -> Tensor | None:
        """For each sample its inputs and those of the L - 1 before it, as in `forward` -> [B, T, L I], oldest first."""
        if not self.head_context:
            return None
        newest = inputs[:, self.receptive_field - self.head_context :]
        return newest.unfold(1, self.head_context, 1).transpose(2, 3).flatten(2)

    def embed(self, inputs: Tensor) -> Tensor:
        """inputs [..., K I] -> h [..., R].

        The product is in float32, because bfloat16 keeps 8 of a sample's 16 bits; the result is in autocast's dtype,
        which saves a third of a training step.
        """
        with without_autocast(inputs.device):
            h: Tensor = self.input(inputs)
        return to_autocast_dtype(h)

    def hidden_of(self, skips: Tensor) -> Tensor:
        """What a step's skips tell each of its samples: [B, N, S] -> [B, N K, S]."""
        hidden: Tensor = self.hidden(F.relu(skips * math.sqrt(1 / len(self.layers))))
        return hidden.unflatten(2, (self.samples_per_step, self.skip_channels)).flatten(1, 2)

    def head(self, hidden: Tensor, recent: Tensor | None) -> Tensor:
        """hidden [B, T, S] and the newest inputs [B, T, L I] of samples -> parameters [B, T, P].

        In plain torch, for single samples; `forward` has faster ways for all of them.
        """
        return head_ref(hidden, recent, self._head_layers)

    @property
    def _head_layers(self) -> HeadLayers:
        return HeadLayers(self.recent, self.mix, self.output)


def dilations(layers: int, stacks: int) -> list[int]:
    """1, 2, 4, … in each stack."""
    return [2 ** (layer % (layers // stacks)) for layer in range(layers)]
