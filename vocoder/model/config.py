"""A model's architecture as plain data, and the one function that builds it."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from vocoder.compilation import require_compiler
from vocoder.distributions import DISTRIBUTIONS, Distribution, MuLawGrid
from vocoder.errors import UserError
from vocoder.features.level import Level
from vocoder.features.mel import MelSpec, preset_name
from vocoder.features.pre_emphasis import PreEmphasis
from vocoder.features.recognition import MelStatistics
from vocoder.model.conditioning import MelConditioning, NoConditioning, Upsample
from vocoder.model.image_upsample import ImageUpsample, ImageUpsampleConfig
from vocoder.model.interpolation import LinearUpsample, StagedUpsample
from vocoder.model.linear_prediction import LinearPrediction, default_order
from vocoder.model.one_hot import OneHot
from vocoder.model.vocoder_model import VocoderModel, input_channels
from vocoder.model.wavenet import WaveNet
from vocoder.settings import from_mapping, suggestion

FORMAT = 1  # of config.json; incremented when an older reader would misunderstand it


@dataclass(frozen=True)
class WaveNetConfig:
    """Sizes of the network."""

    layers: int
    stacks: int
    kernel_size: int
    residual_channels: int
    gate_channels: int  # half for the tanh signal, half for its sigmoid gate
    skip_channels: int
    dropout: float = 0.0  # of the input of each layer's convolution, in training
    weight_norm: bool = False  # weights as norm times direction, in training
    samples_per_step: int = 1  # for which the layers run once; a divisor of the hop
    head_context: int = 0  # samples that the head hears itself; at least 1 with several samples per step

    def __post_init__(self) -> None:
        for name in ("layers", "stacks", "kernel_size", "residual_channels", "gate_channels", "skip_channels"):
            value = getattr(self, name)
            if value < 1:
                raise UserError(f"model.wavenet.{name}={value}: must be at least 1")
        if self.samples_per_step < 1:
            raise UserError(f"model.wavenet.samples_per_step={self.samples_per_step}: must be at least 1")
        if self.head_context < 0:
            raise UserError(f"model.wavenet.head_context={self.head_context}: must be 0 or more")
        if self.samples_per_step > 1 and not self.head_context:
            raise UserError(
                f"model.wavenet.samples_per_step={self.samples_per_step}: the head must hear the samples of a step; "
                "set model.wavenet.head_context=8"
            )
        if not 0 <= self.dropout < 1:
            raise UserError(f"model.wavenet.dropout={self.dropout}: must be at least 0 and below 1")
        if self.layers % self.stacks:
            raise UserError(f"model.wavenet.layers={self.layers} is not a multiple of stacks={self.stacks}")
        if self.gate_channels % 2:
            raise UserError(f"model.wavenet.gate_channels={self.gate_channels} must be even: half signal, half gate")


@dataclass(frozen=True)
class ConditioningConfig:
    """How mel frames reach the network."""

    kind: Literal["mel", "none"] = "mel"
    channels: int = 80
    context_frames: int = 2  # on each side
    upsample_scales: tuple[int, ...] | None = None  # learned stages; None interpolates linearly by the hop
    image_upsample: ImageUpsampleConfig | None = None  # in their place: stages over a picture, as r9y9's

    @property
    def scales(self) -> tuple[int, ...] | None:
        """Of the learned stages, of either kind."""
        return self.image_upsample.scales if self.image_upsample else self.upsample_scales


@dataclass(frozen=True)
class LinearPredictionConfig:
    """The filter that the mel implies; the network predicts relative to it."""

    kind: Literal["none", "mel"] = "none"  # where a config does not say; the shipped ones say mel
    order: int | None = None  # coefficients; None is 1.5 for each kHz of the sample rate
    updates: int = 8  # filter updates per frame


@dataclass(frozen=True)
class ModelConfig:
    """A network's architecture, without the mel contract and the distribution."""

    wavenet: WaveNetConfig
    conditioning: ConditioningConfig = field(default_factory=ConditioningConfig)
    speaker_channels: int = 0  # width of the speaker embedding; 0 ignores speakers
    linear_prediction: LinearPredictionConfig = field(default_factory=LinearPredictionConfig)
    one_hot: bool = False  # the network hears mu-law classes, each with weights of its own, in place of values


@dataclass(frozen=True)
class VocoderConfig:
    """Everything needed to build a model and to check its inputs: the contents of config.json."""

    mel: MelSpec
    model: ModelConfig
    distribution: Distribution
    speakers: tuple[str, ...] = ()
    pre_emphasis: PreEmphasis = field(default_factory=PreEmphasis)  # of what is modelled; undone after synthesis
    statistics: MelStatistics | None = None  # of the training data's mels; None in models of earlier versions
    level: Level | None = None  # how the training data came to its level; likewise

    @property
    def contract(self) -> dict[str, Any]:
        """What waves and mels the model was trained on, as config.json holds it, without the hash."""
        return {
            "sample_rate": self.mel.sample_rate,
            "mel_hash": self.mel.hash(),
            "pre_emphasis": asdict(self.pre_emphasis),
            "statistics": None if self.statistics is None else asdict(self.statistics),
            "level": None if self.level is None else asdict(self.level),
        }

    def to_json(self) -> dict[str, Any]:
        """The contents of config.json."""
        return self.network_json() | {"contract": self.contract | {"hash": contract_hash(self.contract)}}

    def network_json(self) -> dict[str, Any]:
        """What determines the network: all but the statistics and levels of the training data."""
        return {
            "format": FORMAT,
            "mel_preset": preset_name(self.mel),
            "mel_hash": self.mel.hash(),
            "mel": asdict(self.mel),
            "model": asdict(self.model),
            "distribution": distribution_to_json(self.distribution),
            "speakers": list(self.speakers),
            "pre_emphasis": asdict(self.pre_emphasis),
        }

    @classmethod
    def from_json(cls, data: Any, where: str = "config.json") -> "VocoderConfig":
        """Raises UserError where the data is of another format, incomplete or inconsistent."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise UserError(f"{where}: not a model description of format {FORMAT}")
        missing = {"mel", "mel_hash", "model", "distribution"} - data.keys()
        if missing:
            raise UserError(f"{where}: incomplete, {', '.join(sorted(missing))} missing")
        mel = from_mapping(MelSpec, data["mel"], f"{where}: mel")
        if mel.hash() != data["mel_hash"]:
            raise UserError(f"{where}: mel does not match its mel_hash; the file was edited")
        model = from_mapping(ModelConfig, data["model"], f"{where}: model")
        distribution = distribution_from_mapping(data["distribution"], f"{where}: distribution")
        pre_emphasis = from_mapping(PreEmphasis, data.get("pre_emphasis", {}), f"{where}: pre_emphasis")
        statistics, level = _read_contract(data.get("contract"), where)
        config = cls(mel, model, distribution, tuple(data.get("speakers", ())), pre_emphasis, statistics, level)
        if "contract" in data and contract_hash(config.contract) != data["contract"].get("hash"):
            raise UserError(f"{where}: contract does not match its hash; the file was edited")
        return config


def _read_contract(contract: Any, where: str) -> tuple[MelStatistics | None, Level | None]:
    """The statistics and the level in config.json; None in one of an earlier version."""
    if contract is None:
        return None, None
    if not isinstance(contract, dict):
        raise UserError(f"{where}: contract is not a mapping")
    statistics, level = contract.get("statistics"), contract.get("level")
    return (
        None if statistics is None else from_mapping(MelStatistics, statistics, f"{where}: contract.statistics"),
        None if level is None else from_mapping(Level, level, f"{where}: contract.level"),
    )


def contract_hash(contract: dict[str, Any]) -> str:
    """Sixteen hex digits that identify a contract (SHA-256)."""
    return hashlib.sha256(json.dumps(contract, sort_keys=True).encode()).hexdigest()[:16]


def build_model(config: VocoderConfig) -> VocoderModel:
    """A freshly initialised model.

    Raises:
        UserError: the upsampling scales do not multiply to the hop length, or sizes do not fit; or numba is off.
    """
    require_compiler()
    sizes, speaker_channels = config.model.wavenet, config.model.speaker_channels
    if speaker_channels < 0:
        raise UserError(f"model.speaker_channels={speaker_channels}: must be 0 or more")
    if speaker_channels and not config.speakers:
        raise UserError(
            f"model.speaker_channels={speaker_channels}: the store names no speakers; "
            "preprocess with speaker=folder, or set model.speaker_channels=0"
        )
    if config.mel.hop_length % sizes.samples_per_step:
        raise UserError(
            f"model.wavenet.samples_per_step={sizes.samples_per_step}: must divide the mel's hop_length, "
            f"{config.mel.hop_length}; model.wavenet.samples_per_step=1 model.wavenet.head_context=0 always does"
        )
    steps_per_frame = config.mel.hop_length // sizes.samples_per_step
    conditioning = _build_conditioning(config.model.conditioning, config.mel, steps_per_frame)
    prediction = _build_prediction(config.model.linear_prediction, conditioning, config.mel)
    if config.pre_emphasis and prediction is not None:
        raise UserError(
            "pre_emphasis: linear prediction evens out the spectrum already; "
            "set model.linear_prediction.kind=none, or pre_emphasis.coefficient=0 pre_emphasis.gain=1"
        )
    one_hot = _build_one_hot(config)
    wavenet = WaveNet(
        input_channels=one_hot.classes if one_hot else input_channels(linear_prediction=prediction is not None),
        conditioning_channels=conditioning.channels + speaker_channels,
        output_channels=config.distribution.channels,
        **asdict(sizes),
    )
    return VocoderModel(
        config.mel,
        conditioning,
        wavenet,
        config.distribution,
        config.speakers,
        speaker_channels,
        prediction,
        one_hot,
        config.pre_emphasis,
    )


def _build_one_hot(config: VocoderConfig) -> OneHot | None:
    if not config.model.one_hot:
        return None
    if not isinstance(config.distribution.grid, MuLawGrid):
        raise UserError("model.one_hot=true: samples must be of mu-law classes; set distribution=categorical")
    return OneHot(config.distribution.grid)


def _build_conditioning(
    config: ConditioningConfig, mel: MelSpec, steps_per_frame: int
) -> MelConditioning | NoConditioning:
    if config.kind == "none":
        return NoConditioning(steps_per_frame)
    return MelConditioning(
        mel.n_mels, config.channels, config.context_frames, _build_upsample(config, mel, steps_per_frame)
    )


def _build_upsample(config: ConditioningConfig, mel: MelSpec, steps_per_frame: int) -> Upsample:
    if config.scales is None:
        return LinearUpsample(steps_per_frame, mel.frame_centre)
    product = math.prod(config.scales)
    if product != steps_per_frame or min(config.scales) < 1:
        name = "image_upsample.scales" if config.image_upsample else "upsample_scales"
        raise UserError(
            f"model.conditioning.{name}={list(config.scales)} multiply to {product}, "
            f"but the mel's hop_length is {mel.hop_length}"
            + (f", which is {steps_per_frame} steps" if steps_per_frame < mel.hop_length else "")
            + ": choose scales whose product is that, or null"
        )
    return ImageUpsample(config.image_upsample) if config.image_upsample else StagedUpsample(config.scales)


def _build_prediction(
    config: LinearPredictionConfig, conditioning: MelConditioning | NoConditioning, mel: MelSpec
) -> LinearPrediction | None:
    if config.kind == "none":
        return None
    if conditioning.context_frames < LinearPrediction.context_frames:
        raise UserError(
            f"model.linear_prediction.kind=mel: interpolates between frames, and model.conditioning has "
            f"context_frames={conditioning.context_frames}; set at least {LinearPrediction.context_frames} "
            "(and kind=mel), or model.linear_prediction.kind=none"
        )
    order = default_order(mel.sample_rate) if config.order is None else config.order
    return LinearPrediction(mel, order, config.updates)


def distribution_from_mapping(mapping: Any, where: str = "distribution") -> Distribution:
    """The distribution that a config's `kind` names, with the other keys as its options."""
    options = dict(mapping)
    kind = str(options.pop("kind", None))
    if kind not in DISTRIBUTIONS:
        raise UserError(f"{where}.kind={kind}: unknown{suggestion(kind, DISTRIBUTIONS)}")
    return from_mapping(DISTRIBUTIONS[kind], options, where)


def distribution_to_json(distribution: Distribution) -> dict[str, Any]:
    """The inverse of `distribution_from_mapping`."""
    (kind,) = (name for name, cls in DISTRIBUTIONS.items() if type(distribution) is cls)
    return {"kind": kind, **asdict(distribution)}  # type: ignore[call-overload]
