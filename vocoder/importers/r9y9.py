"""A checkpoint of r9y9's wavenet_vocoder as a model of this project.

The imported model computes what theirs computes in generation: sample t from the samples before it and the conditioning
at t. Only the silence before an utterance is this project's: zeros that the network has heard, and the first mel frame
repeated, where theirs begins with layers that have heard nothing.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.features.mel_files import read_statistics
from vocoder.importers import r9y9_hparams as settings
from vocoder.importers.r9y9_hparams import Hparams, Layout
from vocoder.importers.r9y9_weights import ForeignWeights, convert, skip_factors
from vocoder.importers.torch_files import read_torch_file, state_dict_of
from vocoder.model import ModelConfig, VocoderConfig, VocoderModel, build_model, save_checkpoint

NO_STATISTICS = "none"


@dataclass(frozen=True)
class Imported:
    """A model that was imported, and how it differed."""

    model: VocoderModel
    config: VocoderConfig
    layout: Layout
    step: int
    averaged: bool  # whether its weights are an exponential moving average, judging by the file's name
    sources: dict[str, str] = field(default_factory=dict)  # the files

    def save(self, output: Path) -> None:
        """Write a model directory, whole or not at all. Raises UserError where it cannot be written."""
        metrics = {"step": self.step, "dev_bits": None, "imported": {"layout": self.layout, **self.sources}}
        save_checkpoint(output, self.config, {"model": self.model.state_dict()}, metrics)


def import_r9y9(
    source: Path, hparams: Path | None = None, stats: str | None = None, mel: MelSpec | None = None
) -> Imported:
    """The model in a checkpoint.

    Args:
        hparams: its settings, as JSON; None is hparams.json beside the checkpoint.
        stats: file with the statistics that normalised its mels (`read_statistics`), or "none". The current layout
            needs one or the other; 0.1.1 has a rule of its own, and none to give.
        mel: that it was trained with; None is theirs, as the settings describe it. With any other, `stats` says how it
            was normalised, also for 0.1.1.

    Raises:
        UserError: a file is missing or not theirs, could run code, or says something that cannot be imported.
    """
    if not source.is_file():
        raise UserError(f"source={source}: no such file; give a checkpoint, such as checkpoint_step000100000_ema.pth")
    found = Hparams.read(hparams or source.parent / "hparams.json")
    content = read_torch_file(source)
    theirs = ForeignWeights(state_dict_of(content, source), str(source))
    if "first_conv" not in theirs:
        raise UserError(f"{source}: has no first_conv: not a checkpoint of r9y9's wavenet_vocoder")
    config = config_of(found, theirs, mel or settings.mel_spec(found))
    mean, scale = statistics_of(found, config.mel, stats, has_own_mel=mel is None)
    model = build_model(config)
    factors = skip_factors(
        config.model.wavenet.layers, halved=settings.halves_skips(found), scaled=settings.scales_skips(found)
    )
    state = convert(theirs, model, factors, conv_in="upsample_net.conv_in" in theirs)
    if model.conditioning.channels:
        for name, values in (("mean", mean), ("std", scale)):
            state[f"conditioning.{name}"] = torch.from_numpy(values).float()[:, None]
    model.load_state_dict(state)
    step = content.get("global_step")
    sources = {"source": source.name, "hparams": Path(found.where).name, "stats": Path(stats or NO_STATISTICS).name}
    averaged = source.stem.endswith("_ema")
    return Imported(model.eval(), config, found.layout, step if isinstance(step, int) else 0, averaged, sources)


def config_of(hparams: Hparams, theirs: ForeignWeights, mel: MelSpec) -> VocoderConfig:
    """The model's description. Raises UserError where a setting cannot be imported."""
    speaker_channels = max(0, hparams.get("gin_channels", -1))
    if speaker_channels and "embed_speakers" not in theirs:
        raise hparams.error("gin_channels", "speakers that are features, not embeddings, cannot be imported")
    speakers = tuple(map(str, range(hparams.require("n_speakers")))) if speaker_channels else ()
    model = ModelConfig(
        settings.wavenet_config(hparams),
        settings.conditioning_config(hparams, mel.hop_length),
        speaker_channels,
        one_hot=settings.is_one_hot(hparams),
    )
    return VocoderConfig(mel, model, settings.distribution(hparams), speakers, settings.pre_emphasis(hparams))


def statistics_of(
    hparams: Hparams, mel: MelSpec, stats: str | None, *, has_own_mel: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(mean, scale) [n_mels] by which the mel is normalised. Raises UserError as `import_r9y9`."""
    ones = np.ones(mel.n_mels)
    if hparams.layout == "0.1.1" and has_own_mel:
        if stats is not None:
            raise UserError(f"stats={stats}: 0.1.1 normalises mels by min_level_db and ref_level_db; leave stats out")
        mean, scale = settings.decibel_statistics(hparams)
        return mean * ones, scale * ones
    if stats is None and hparams.get("cin_channels", -1) > 0:
        raise UserError(
            "give stats=FILE, the mean and scale that normalised the mels (meanvar.joblib, converted to .npz); or "
            "stats=none, if nothing did"
        )
    if stats is None or stats == NO_STATISTICS:
        return 0 * ones, ones
    return read_statistics(Path(stats), mel.n_mels)
