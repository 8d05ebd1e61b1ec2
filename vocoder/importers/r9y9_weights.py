"""The weights of r9y9's wavenet_vocoder as those of this project's network, which computes the same from them.

R residual, G gate, S skip, C conditioning channels, K taps, L layers; theirs -> ours:

    first_conv              [R, 1, 1]   input                  over 4, by which our network multiplies samples
    conv                    [G, R, K]   gate [G, K R + C]      taps oldest first, each R wide …
    conv1x1c, conv1x1g      [G, C, 1]                          … then mel and speaker; all biases are added up
    conv1x1_out, _skip      [., G/2, 1] out [R + S, G/2]       the skip by its share of the sum, see `skip_factors`
    last_conv_layers.1, .3              hidden, output
    upsample_net, upsample_conv         conditioning
    embed_speakers                      speaker_embedding

Everything is folded in float64 and rounded once.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from vocoder.errors import UserError
from vocoder.model import VocoderModel

SAMPLE_SCALE = 4  # of `network_inputs`
WEIGHT_NORMS = (  # names of magnitude and direction: by torch's older function, and by its parametrization
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


class ForeignWeights:
    """A state dict from which each tensor is taken once, with its shape checked.

    Args:
        where: its file, for errors.
    """

    def __init__(self, state: Mapping[str, Tensor], where: str) -> None:
        prefix = "module." if state and all(name.startswith("module.") for name in state) else ""  # of DataParallel
        self._state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        self._where = where

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of this name or below it."""
        return any(key == name or key.startswith(f"{name}.") for key in self._state)

    def weight(self, name: str, *shape: int) -> Tensor:
        """The weight of a module, float64, with its weight norm folded.

        Raises:
            UserError: it is missing, or of another shape.
        """
        for magnitude, direction in WEIGHT_NORMS:
            if f"{name}.{magnitude}" in self._state:
                g, v = self._take(f"{name}.{magnitude}").double(), self._take(f"{name}.{direction}").double()
                folded = v * (g / v.flatten(1).norm(dim=1).view_as(g))
                return self._checked(f"{name}.{direction}", folded, shape)
        return self._checked(f"{name}.weight", self._take(f"{name}.weight").double(), shape)

    def bias(self, name: str, size: int, *, optional: bool = False) -> Tensor:
        """The bias [size] of a module, float64; zeros where it is optional and missing."""
        if optional and f"{name}.bias" not in self._state:
            return torch.zeros(size, dtype=torch.float64)
        return self._checked(f"{name}.bias", self._take(f"{name}.bias").double(), (size,))

    def finish(self) -> None:
        """Raises UserError where tensors are left, which this project's network has no place for."""
        if self._state:
            names = sorted(self._state)
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UserError(
                f"{self._where}: {', '.join(names[:3])}{more} cannot be imported: not of the network that the settings "
                "describe, or of another version"
            )

    def _take(self, name: str) -> Tensor:
        if name not in self._state:
            raise UserError(f"{self._where}: {name} is missing: these are not the settings of this checkpoint")
        return self._state.pop(name)

    def _checked(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        if tuple(tensor.shape) != shape:
            raise UserError(
                f"{self._where}: {name} is of shape {list(tensor.shape)}, but the settings say {list(shape)}: these "
                "are not the settings of this checkpoint"
            )
        return tensor


def skip_factors(layers: int, *, halved: bool, scaled: bool) -> list[float]:
    """The factor of each layer's skip for our network, which multiplies the sum of all by sqrt(1 / layers).

    Args:
        halved: the sum of the first i skips is multiplied by sqrt(1/2), for each i from 2 on.
        scaled: the whole sum is multiplied by sqrt(1 / layers), as ours.
    """
    total = 1.0 if scaled else math.sqrt(layers)
    products = [layers - max(index, 1) if halved else 0 for index in range(layers)]  # by sqrt(1/2), of each layer
    return [total * math.sqrt(0.5) ** count for count in products]


def convert(theirs: ForeignWeights, model: VocoderModel, factors: list[float], conv_in: bool) -> dict[str, Tensor]:
    """The state dict of `model`, in float32, but for the statistics of the mel.

    Args:
        factors: `skip_factors`.
        conv_in: whether a convolution over frames comes before upsampling.

    Raises:
        UserError: tensors are missing, left over or of another shape.
    """
    ours = {**_network(theirs, model, factors), **_conditioning(theirs, model, conv_in)}
    if model.speaker_embedding is not None:
        ours["speaker_embedding.weight"] = theirs.weight("embed_speakers", *model.speaker_embedding.weight.shape)
    theirs.finish()
    return {name: tensor.float() for name, tensor in ours.items()}


def _network(theirs: ForeignWeights, model: VocoderModel, factors: list[float]) -> dict[str, Tensor]:
    wavenet = model.wavenet
    R, S, P, inputs = wavenet.residual_channels, wavenet.skip_channels, wavenet.output_channels, wavenet.input_channels
    first = theirs.weight("first_conv", R, inputs, 1)[..., 0]
    ours = {
        "input.weight": first if model.one_hot else first / SAMPLE_SCALE,
        "input.bias": theirs.bias("first_conv", R),
        "hidden.weight": theirs.weight("last_conv_layers.1", S, S, 1)[..., 0],
        "hidden.bias": theirs.bias("last_conv_layers.1", S),
        "output.weight": theirs.weight("last_conv_layers.3", P, S, 1)[..., 0],
        "output.bias": theirs.bias("last_conv_layers.3", P),
    }
    for index, factor in enumerate(factors):
        layer = _layer(theirs, model, f"conv_layers.{index}", factor)
        ours |= {f"layers.{index}.{name}": tensor for name, tensor in layer.items()}
    return {f"wavenet.{name}": tensor for name, tensor in ours.items()}


def _layer(theirs: ForeignWeights, model: VocoderModel, name: str, skip_factor: float) -> dict[str, Tensor]:
    wavenet = model.wavenet
    R, S, G, K = wavenet.residual_channels, wavenet.skip_channels, wavenet.gate_channels, wavenet.kernel_size
    mel, speaker = model.conditioning.channels, wavenet.conditioning_channels - model.conditioning.channels
    taps = theirs.weight(f"{name}.conv", G, R, K).transpose(1, 2).flatten(1)  # [G, K R]
    gate, bias = [taps], theirs.bias(f"{name}.conv", G, optional=True)
    for part, channels in ((f"{name}.conv1x1c", mel), (f"{name}.conv1x1g", speaker)):
        if channels:
            gate.append(theirs.weight(part, G, channels, 1)[..., 0])
            bias = bias + theirs.bias(part, G, optional=True)
    out, skip = f"{name}.conv1x1_out", f"{name}.conv1x1_skip"
    return {
        "gate.weight": torch.cat(gate, 1),
        "gate.bias": bias,
        "out.weight": torch.cat(
            (theirs.weight(out, R, G // 2, 1)[..., 0], skip_factor * theirs.weight(skip, S, G // 2, 1)[..., 0])
        ),
        "out.bias": torch.cat((theirs.bias(out, R, optional=True), skip_factor * theirs.bias(skip, S, optional=True))),
    }


def _conditioning(theirs: ForeignWeights, model: VocoderModel, conv_in: bool) -> dict[str, Tensor]:
    """The convolution over frames, an identity where they have none, and the kernels of the stages."""
    own = model.conditioning.state_dict()
    if not own:
        return {}
    shape = tuple(own["convolution.weight"].shape)
    ours = {"convolution.bias": torch.zeros(shape[0], dtype=torch.float64)}
    if conv_in:
        ours["convolution.weight"] = theirs.weight("upsample_net.conv_in", *shape)
    else:
        ours["convolution.weight"] = torch.eye(shape[0], dtype=torch.float64)[..., None]
    if "upsample.smoothing.0" in own:  # frames are repeated
        ours["upsample.smoothing.0"] = torch.zeros_like(own["upsample.smoothing.0"], dtype=torch.float64)
        ours["upsample.smoothing.0"][len(ours["upsample.smoothing.0"]) // 2] = 1
    for index, name in enumerate(_stage_names(theirs, model, conv_in)):
        kernel = own[f"upsample.kernels.{index}"]
        ours[f"upsample.kernels.{index}"] = theirs.weight(name, 1, 1, *kernel.shape)[0, 0]
        if f"upsample.biases.{index}" in own:
            ours[f"upsample.biases.{index}"] = theirs.bias(name, 1)
    return {f"conditioning.{name}": tensor for name, tensor in ours.items()}


def _stage_names(theirs: ForeignWeights, model: VocoderModel, conv_in: bool) -> list[str]:
    """Their names of the stages' convolutions, which are numbered with what stands between them."""
    config = getattr(model.conditioning.upsample, "config", None)
    if config is None:
        return []
    stages = range(len(config.scales))
    if config.stage == "transposed":
        return [f"upsample_conv.{2 * index}" for index in stages]
    between = 2 if config.activation == "none" else 3
    layers = "upsample_net.upsample.up_layers" if conv_in else "upsample_net.up_layers"
    return [f"{layers}.{1 + between * index}" for index in stages]
