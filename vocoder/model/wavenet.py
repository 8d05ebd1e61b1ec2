"""The WaveNet: past samples and conditioning in, distribution parameters out."""

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from vocoder.device import in_autocast_dtype, without_autocast
from vocoder.model.conditioning import Motion
from vocoder.model.layers import ResidualLayer


class WaveNet(nn.Module):
    """Stacks of dilated causal convolutions with a two-layer output (van den Oord et al. 2016).

    Dilations double from 1 within a stack. The output at t depends on the inputs at t and the
    `receptive_field - 1` samples before; nothing is padded, so the caller brings that history along.
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
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.recompute = False  # activations of the layers in the backward pass, in place of keeping them
        self.input = nn.Linear(input_channels, residual_channels)
        self.layers = nn.ModuleList(
            ResidualLayer(
                residual_channels, gate_channels, skip_channels, conditioning_channels, kernel_size, dilation, dropout
            )
            for dilation in dilations(layers, stacks)
        )
        self.hidden = nn.Linear(skip_channels, skip_channels)
        self.output = nn.Linear(skip_channels, output_channels)
        if weight_norm:
            for linear in self._normalised():
                parametrizations.weight_norm(linear)

    def fold_weight_norm(self) -> None:
        """Leave the weights alone of what training had as their lengths and directions, if it had."""
        for linear in self._normalised():
            if parametrize.is_parametrized(linear):
                parametrize.remove_parametrizations(linear, "weight")

    def _normalised(self) -> list[nn.Linear]:
        return [*(linear for layer in self.residual_layers for linear in (layer.gate, layer.out)), self.hidden]

    @property
    def residual_layers(self) -> list[ResidualLayer]:
        """The layers in order, as what they are."""
        return cast(list[ResidualLayer], list(self.layers))

    @property
    def receptive_field(self) -> int:
        """How many inputs an output depends on, in samples."""
        return 1 + sum(layer.history for layer in self.residual_layers)

    def forward(self, inputs: Tensor, knots: Tensor, motion: Motion) -> Tensor:
        """inputs [B, receptive_field - 1 + T, I] -> [B, T, P].

        The last sample is the last of the frames whose conditioning the knots [B, F, J, C] are, as `motion` spreads it.
        """
        h = self.embed(inputs)
        samples, channels = inputs.shape[1] - (self.receptive_field - 1), self.hidden.in_features
        skips = inputs.new_zeros(len(inputs), samples, channels)
        for layer in self.residual_layers:
            h, skips = layer(h, skips, knots, motion, self.recompute)
        return self.head(skips)

    def embed(self, inputs: Tensor) -> Tensor:
        """inputs [..., I] -> h [..., R]. The product in float32, since bfloat16 keeps 8 of a sample's 16 bits;
        what goes on through the layers in autocast's dtype, which saves a third of a training step."""
        with without_autocast(inputs.device):
            h: Tensor = self.input(inputs)
        return in_autocast_dtype(h)

    def head(self, skips: Tensor) -> Tensor:
        """Summed skips [..., S] -> parameters [..., P], the last product in float32, because in
        bfloat16 a mean of 0.5 moves in steps of 128 of the grid's levels."""
        hidden = F.relu(self.hidden(F.relu(skips * math.sqrt(1 / len(self.layers)))))
        with without_autocast(hidden.device):
            return self.output(hidden.float())


def dilations(layers: int, stacks: int) -> list[int]:
    """1, 2, 4, … in each stack."""
    return [2 ** (layer % (layers // stacks)) for layer in range(layers)]
