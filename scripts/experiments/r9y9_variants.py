"""Kinds of networks of r9y9's wavenet_vocoder, by their settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BASE: dict[str, Any] = {
    "name": "wavenet_vocoder",
    "input_type": "raw",
    "sample_rate": 16000,
    "num_mels": 6,
    "fmin": 125,
    "fmax": 7600,
    "fft_size": 64,
    "hop_size": 12,
    "out_channels": 9,
    "layers": 6,
    "stacks": 2,
    "residual_channels": 8,
    "gate_channels": 12,
    "skip_out_channels": 10,
    "kernel_size": 3,
    "dropout": 0.05,
    "cin_channels": 6,
    "gin_channels": -1,
    "n_speakers": 3,
    "upsample_conditional_features": True,
}
CURRENT = {
    "win_length": 64,
    "cin_pad": 2,
    "output_distribution": "Logistic",
    "upsample_net": "ConvInUpsampleNetwork",
    "upsample_params": {"upsample_scales": [3, 4]},
}
RELEASED = {"upsample_scales": [3, 4], "freq_axis_kernel_size": 3, "min_level_db": -100, "ref_level_db": 20}
SPEECH = {
    **{"sample_rate": 22050, "num_mels": 80, "cin_channels": 80, "fft_size": 1024, "win_length": 1024, "hop_size": 256},
    **{"layers": 24, "stacks": 4, "out_channels": 30, "log_scale_min": -16.0},
}
RECIPE_SIZES = {"residual_channels": 128, "gate_channels": 256, "skip_out_channels": 128}
DOWNLOAD_SIZES = {"residual_channels": 512, "gate_channels": 512, "skip_out_channels": 256}
CLASSES = {"input_type": "mulaw-quantize", "quantize_channels": 256, "out_channels": 256}


@dataclass(frozen=True)
class Variant:
    """A kind of network, by the settings in which it differs from the others."""

    layout: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def hparams(self) -> dict[str, Any]:
        return {**BASE, **(CURRENT if self.layout == "current" else RELEASED), **self.changes}


def upsampling(**params: Any) -> dict[str, Any]:
    return {"upsample_params": {"upsample_scales": [2, 3, 2], **params}}


VARIANTS = {
    "mixture of logistics": Variant("current"),
    "cin_pad 0": Variant("current", {"cin_pad": 0}),
    "Gaussian": Variant("current", {"output_distribution": "Normal", "out_channels": 2}),
    "mixture of Gaussians": Variant("current", {"output_distribution": "Normal"}),
    "mu-law classes": Variant("current", CLASSES),
    "speakers": Variant("current", {"gin_channels": 4}),
    "freq_axis_kernel_size 3": Variant("current", upsampling(freq_axis_kernel_size=3)),
    "ReLU between stages": Variant("current", upsampling(freq_axis_kernel_size=3, upsample_activation="ReLU")),
    "LeakyReLU between stages": Variant(
        "current",
        upsampling(upsample_activation="LeakyReLU", upsample_activation_params={"negative_slope": 0.4}),
    ),
    "UpsampleNetwork": Variant("current", {"upsample_net": "UpsampleNetwork"}),
    "repeated frames": Variant("current", {"upsample_conditional_features": False, "cin_pad": 0}),
    "no conditioning": Variant("current", {"cin_channels": -1}),
    "one stack, kernel 2": Variant("current", {"stacks": 1, "layers": 5, "kernel_size": 2}),
    "recipe's size": Variant(
        "current", {**SPEECH, **RECIPE_SIZES, "upsample_params": {"upsample_scales": [4, 4, 4, 4]}}
    ),
    "wide": Variant("current", {"residual_channels": 70, "gate_channels": 140, "skip_out_channels": 66}),
    "0.1.1: mixture of logistics": Variant("0.1.1"),
    "0.1.1: mu-law classes": Variant("0.1.1", CLASSES),
    "0.1.1: speakers": Variant("0.1.1", {"gin_channels": 4}),
    "0.1.1: legacy false": Variant("0.1.1", {"legacy": False}),
    "0.1.1: no weight norm": Variant("0.1.1", {"weight_normalization": False}),
    "0.1.1: freq_axis_kernel_size 1": Variant("0.1.1", {"freq_axis_kernel_size": 1, "upsample_scales": [12]}),
    "0.1.1: repeated frames": Variant("0.1.1", {"upsample_conditional_features": False}),
    "0.1.1: no conditioning": Variant("0.1.1", {"cin_channels": -1, "upsample_conditional_features": False}),
    "0.1.1: size of the downloads": Variant("0.1.1", {**SPEECH, **DOWNLOAD_SIZES, "upsample_scales": [4, 4, 4, 4]}),
    "0.1.1: three stacks, kernel 2": Variant("0.1.1", {"stacks": 3, "kernel_size": 2}),
}
