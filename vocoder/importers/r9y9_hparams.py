"""What the hyperparameters of r9y9's wavenet_vocoder say of its network, its mels and its waveforms.

Two layouts are known: "current", since 2019, and "0.1.1", the version on PyPI. A setting that this project's network
cannot express is refused by its name.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from vocoder.distributions import Distribution
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.features.pre_emphasis import PreEmphasis
from vocoder.files import read_json
from vocoder.model import ConditioningConfig, WaveNetConfig
from vocoder.model.config import distribution_from_mapping
from vocoder.model.image_upsample import ImageUpsample, ImageUpsampleConfig

Layout = Literal["current", "0.1.1"]
T = TypeVar("T")
ONLY_CURRENT = ("upsample_params", "upsample_net", "cin_pad", "output_distribution")  # settings
PRE_EMPHASIS = 0.85  # that of their inv_preemphasis, which no setting changes
LOG_SCALE_MIN = {"current": -9.0, "0.1.1": -32.23619130191664}  # where the settings do not say: their defaults
ACTIVATIONS = {"none": "none", "ReLU": "relu", "LeakyReLU": "leaky_relu"}


class Hparams:
    """The settings in a JSON file, as their `hparams.json` or a preset has them."""

    def __init__(self, settings: Mapping[str, Any], where: str) -> None:
        self._settings, self.where = settings, where

    @classmethod
    def read(cls, path: Path) -> "Hparams":
        """Raises UserError where the file is missing or not theirs."""
        settings = read_json(path)
        if not isinstance(settings, dict) or settings.get("name", "wavenet_vocoder") != "wavenet_vocoder":
            raise UserError(f"{path}: not the settings of r9y9's wavenet_vocoder")
        return cls(settings, str(path))

    @property
    def layout(self) -> Layout:
        return "current" if any(name in self._settings for name in ONLY_CURRENT) else "0.1.1"

    def get(self, name: str, default: T) -> T:
        """A setting of the default's type; the default where there is none, or null.

        Raises:
            UserError: it is of another type.
        """
        value = self._settings.get(name)
        if value is None:
            return default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, type(default)) or (isinstance(value, bool) and not isinstance(default, bool)):
            raise self.error(name, f"must be of the type of {default!r}")
        return value

    def require(self, name: str) -> int:
        """A setting that has to be there, a whole number."""
        if self._settings.get(name) is None:
            raise UserError(f"{self.where}: {name} is missing")
        return self.get(name, 0)

    def error(self, name: str, reason: str) -> UserError:
        return UserError(f"{self.where}: {name}={self._settings.get(name)}: {reason}")


def wavenet_config(hparams: Hparams) -> WaveNetConfig:
    return WaveNetConfig(
        layers=hparams.require("layers"),
        stacks=hparams.require("stacks"),
        kernel_size=hparams.require("kernel_size"),
        residual_channels=hparams.require("residual_channels"),
        gate_channels=hparams.require("gate_channels"),
        skip_channels=hparams.require("skip_out_channels"),
        dropout=hparams.get("dropout", 0.0),
    )


def distribution(hparams: Hparams) -> Distribution:
    """The output distribution, with their floor of the log-scales."""
    channels, kind = hparams.require("out_channels"), hparams.get("output_distribution", "Logistic")
    if is_one_hot(hparams):
        if hparams.get("quantize_channels", channels) != channels:
            raise hparams.error("quantize_channels", f"must be out_channels, {channels}")
        return distribution_from_mapping({"kind": "categorical", "classes": channels})
    options: dict[str, Any] = {"log_scale_min": hparams.get("log_scale_min", LOG_SCALE_MIN[hparams.layout])}
    if kind not in ("Logistic", "Normal"):
        raise hparams.error("output_distribution", "cannot be imported, only Logistic and Normal")
    if kind == "Normal" and channels == 2:
        return distribution_from_mapping({"kind": "gaussian", **options})
    if channels < 3 or channels % 3:
        raise hparams.error("out_channels", f"output_distribution={kind} has 3 for each component")
    name = "mixture_of_logistics" if kind == "Logistic" else "mixture_of_gaussians"
    return distribution_from_mapping({"kind": name, "components": channels // 3, **options})


def is_one_hot(hparams: Hparams) -> bool:
    """Whether the network hears classes of mu-law codes."""
    kind = hparams.get("input_type", "raw")
    if kind not in ("raw", "mulaw-quantize"):
        raise hparams.error("input_type", "cannot be imported, only raw and mulaw-quantize")
    return kind == "mulaw-quantize"


def mel_spec(hparams: Hparams) -> MelSpec:
    """Their mel as its plain log10; what they do to it afterwards is part of the conditioning."""
    rate, n_fft = hparams.require("sample_rate"), hparams.require("fft_size")
    hop = hparams.get("hop_size", 0) or int(hparams.get("frame_shift_ms", 0.0) / 1000 * rate)
    sizes: dict[str, Any] = {
        "sample_rate": rate,
        "n_fft": n_fft,
        "hop_length": hop,
        "win_length": n_fft,
        "n_mels": hparams.require("num_mels"),
        "fmin": hparams.get("fmin", 0.0),
        "fmax": hparams.get("fmax", rate / 2),
        "magnitude_epsilon": 0.0,
        "log_base": "10",
    }
    if hparams.layout == "0.1.1":
        floor = 10 ** ((hparams.get("min_level_db", -100.0) + hparams.get("ref_level_db", 20.0)) / 20)
        ceiling = 10 ** (hparams.get("ref_level_db", 20.0) / 20)  # theirs ends at 1
        floor = max(1e-5, floor)
        return MelSpec(**sizes, padding="ahead", pad_mode="zero", window="lws", log_floor=floor, log_ceiling=ceiling)
    if hparams.get("window", "hann") != "hann":
        raise hparams.error("window", "mels can only be imported with a Hann window")
    win_length = hparams.get("win_length", n_fft)
    sizes["win_length"] = win_length if win_length > 0 else int(hparams.get("win_length_ms", 0.0) / 1000 * rate)
    highpass = float(hparams.get("highpass_cutoff", 0.0))
    return MelSpec(**sizes, padding="centre", log_floor=1e-10, highpass=highpass)


def decibel_statistics(hparams: Hparams) -> tuple[float, float]:
    """(mean, scale) that make of a log10 mel 0.1.1's: (20 log10 - ref_level_db - min_level_db) / -min_level_db."""
    lowest, reference = hparams.get("min_level_db", -100.0), hparams.get("ref_level_db", 20.0)
    if lowest >= 0:
        raise hparams.error("min_level_db", "must be below 0")
    return (reference + lowest) / 20, -lowest / 20


def conditioning_config(hparams: Hparams, hop_length: int) -> ConditioningConfig:
    channels = hparams.get("cin_channels", -1)
    if channels <= 0:
        return ConditioningConfig("none")
    if channels != hparams.require("num_mels"):
        raise hparams.error("cin_channels", "only mels can condition an imported model: it must be num_mels")
    if not hparams.get("upsample_conditional_features", False):  # each frame is repeated: the kernel is a 1 among zeros
        return ConditioningConfig("mel", channels, context_frames=1, upsample_scales=(hop_length,))
    stages = _stages(hparams)
    convolved = hparams.layout == "current" and _upsample_net(hparams) == "ConvInUpsampleNetwork"
    radius = hparams.get("cin_pad", 0) if convolved else 0
    context = radius + ImageUpsample(stages).context_frames
    return ConditioningConfig("mel", channels, context, image_upsample=stages)


def _upsample_net(hparams: Hparams) -> str:
    name = hparams.get("upsample_net", "ConvInUpsampleNetwork")
    if name not in ("ConvInUpsampleNetwork", "UpsampleNetwork"):
        raise hparams.error("upsample_net", "cannot be imported, only ConvInUpsampleNetwork and UpsampleNetwork")
    return name


def _stages(hparams: Hparams) -> ImageUpsampleConfig:
    if hparams.layout == "0.1.1":
        scales, bands = hparams.get("upsample_scales", [0]), hparams.get("freq_axis_kernel_size", 3)
        return ImageUpsampleConfig(_whole(scales, hparams), "transposed", bands, "relu")
    params = Hparams(hparams.get("upsample_params", {}), f"{hparams.where}: upsample_params")
    name = params.get("upsample_activation", "none")
    options: dict[str, Any] = params.get("upsample_activation_params", {})
    if name not in ACTIVATIONS:
        raise params.error("upsample_activation", f"cannot be imported, only {', '.join(ACTIVATIONS)}")
    if params.get("mode", "nearest") != "nearest":
        raise params.error("mode", "cannot be imported, only nearest")
    return ImageUpsampleConfig(
        _whole(params.get("upsample_scales", [4, 4, 4, 4]), params),
        "repeat",
        params.get("freq_axis_kernel_size", 1),
        ACTIVATIONS[name],  # type: ignore[arg-type]
        float(options.get("negative_slope", 0.01)),
    )


def _whole(scales: list[Any], hparams: Hparams) -> tuple[int, ...]:
    if not all(isinstance(scale, int) for scale in scales):
        raise hparams.error("upsample_scales", "must be a list of whole numbers")
    return tuple(scales)


def pre_emphasis(hparams: Hparams) -> PreEmphasis:
    """What their synthesis undoes after generation."""
    postprocess = hparams.get("postprocess", "")
    if postprocess not in ("", "none", "inv_preemphasis"):
        raise hparams.error("postprocess", "cannot be imported, only inv_preemphasis")
    gain = hparams.get("global_gain_scale", 1.0)
    coefficient = PRE_EMPHASIS if postprocess == "inv_preemphasis" else 0.0
    return PreEmphasis(coefficient, gain if gain > 0 else 1.0)


def halves_skips(hparams: Hparams) -> bool:
    """Whether each layer's sum of skips is multiplied by the root of a half, as 0.1.1 does unless told otherwise."""
    return hparams.layout == "0.1.1" and hparams.get("legacy", True)


def scales_skips(hparams: Hparams) -> bool:
    """Whether the sum of skips is multiplied by the root of 1 / layers."""
    return hparams.layout == "current"
