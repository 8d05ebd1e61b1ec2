"""The WaveNet: past samples and conditioning in, distribution parameters out."""

import math
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize

from vocoder.device import to_autocast_dtype, without_autocast
from vocoder.model.interpolation import PiecewiseLinear
from vocoder.model.residual_layer import ResidualLayer


class WaveNet(nn.Module):
    """Stacks of dilated causal convolutions with a two-layer output (van den Oord et al. 2016).

    Dilations double from 1 within a stack. The output at t depends on the input at t and on the `receptive_field - 1`
    inputs before. Nothing is padded: the caller supplies that history.
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
        self.kernel_size = kernel_size
        self.residual_channels, self.gate_channels, self.skip_channels = residual_channels, gate_channels, skip_channels
        self.conditioning_channels, self.output_channels = conditioning_channels, output_channels
        self.dropout = dropout
        self.recompute = False  # recompute the layers' activations in the backward pass instead of keeping them
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
        """Fold weight norm, if there is any, into plain weights."""
        for linear in self._normalised():
            if parametrize.is_parametrized(linear):
                parametrize.remove_parametrizations(linear, "weight")

    def _normalised(self) -> list[nn.Linear]:
        return [*(linear for layer in self.residual_layers for linear in (layer.gate, layer.out)), self.hidden]

    @property
    def residual_layers(self) -> list[ResidualLayer]:
        """The layers in order, typed."""
        return cast(list[ResidualLayer], list(self.layers))

    @property
    def receptive_field(self) -> int:
        """How many inputs an output depends on, in samples."""
        return 1 + sum(layer.history for layer in self.residual_layers)

    def forward(self, inputs: Tensor, conditioning: PiecewiseLinear) -> Tensor:
        """inputs [B, receptive_field - 1 + T, I], conditioning [B, F H, C], both up to the same sample -> [B, T, P]."""
        h = self.embed(inputs)
        skips = inputs.new_zeros(len(inputs), inputs.shape[1] - (self.receptive_field - 1), self.skip_channels)
        for layer in self.residual_layers:
            h, skips = layer(h, skips, conditioning, self.recompute)
        return self.head(skips)

    def embed(self, inputs: Tensor) -> Tensor:
        """inputs [..., I] -> h [..., R].

        The product is in float32, because bfloat16 keeps 8 of a sample's 16 bits; the result is in autocast's dtype,
        which saves a third of a training step.
        """
        with without_autocast(inputs.device):
            h: Tensor = self.input(inputs)
        return to_autocast_dtype(h)

    def head(self, skips: Tensor) -> Tensor:
        """Summed skips [..., S] -> parameters [..., P].

        The last product is in float32: in bfloat16 a mean of 0.5 could only move in steps of 128 of the grid's levels.
        """
        hidden = F.relu(self.hidden(F.relu(skips * math.sqrt(1 / len(self.layers)))))
        with without_autocast(hidden.device):
            return self.output(hidden.float())


def dilations(layers: int, stacks: int) -> list[int]:
    """1, 2, 4, … in each stack."""
    return [2 ** (layer % (layers // stacks)) for layer in range(layers)]
