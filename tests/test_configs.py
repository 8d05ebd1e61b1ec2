"""Every shipped config composes and builds, and its defaults are those of the code."""

import itertools
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from vocoder.commands import cli
from vocoder.commands.import_ import Config as ImportConfig
from vocoder.commands.preprocess import register_mel_presets
from vocoder.commands.synthesize import Config as SynthesizeConfig
from vocoder.commands.train import Config as TrainConfig
from vocoder.data.preprocess import PreprocessConfig
from vocoder.errors import UserError
from vocoder.features.mel import PRESETS, MelSpec
from vocoder.model import VocoderConfig, VocoderModel, build_model
from vocoder.model.config import distribution_from_mapping
from vocoder.settings import from_mapping
from vocoder.training import TrainingConfig

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"
REQUIRED = {
    "preprocess": ["input=in", "output=out"],
    "train": ["data=store", "name=run"],
    "synthesize": ["model=run", "input=in", "output=out"],
    "import": ["source=checkpoint.pth", "output=out"],
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / "train" / group).glob("*.yaml"))


MODELS, DISTRIBUTIONS, EXPERIMENTS = options("model"), options("distribution"), [None, *options("experiment")]


def compose(name: str, *overrides: str) -> dict[str, Any]:
    return cli.compose(name, [*REQUIRED[name], *overrides])


def train_config(*overrides: str) -> TrainConfig:
    return from_mapping(TrainConfig, compose("train", *overrides))


def built(*overrides: str, mel: MelSpec = PRESETS["speech_16k"]) -> VocoderModel:
    config = train_config(*overrides)
    distribution = distribution_from_mapping(config.distribution)
    speakers = ("ann", "bob") if config.model.speaker_channels else ()
    return build_model(VocoderConfig(mel, config.model, distribution, speakers))


@pytest.mark.parametrize(
    ("model", "distribution", "experiment"), list(itertools.product(MODELS, DISTRIBUTIONS, EXPERIMENTS))
)
def test_every_combination_of_training_options_composes_and_builds(
    model: str, distribution: str, experiment: str | None
) -> None:
    choices = [f"model={model}", f"distribution={distribution}"] + [f"experiment={experiment}"] * bool(experiment)
    choices += ["model.linear_prediction.kind=none"] * (
        distribution == "categorical"
    )  # classes cannot be shifted and scaled
    network = built(*choices)
    hop, frames = network.spec.hop_length, network.history_frames + 2
    mel = torch.zeros(1, network.spec.n_mels, frames + 2 * network.context_frames)
    with torch.no_grad():
        params = network(torch.zeros(1, frames * hop), mel, torch.tensor([1]) if network.speakers else None)
    assert params.shape == (1, network.distribution.channels, 2 * hop)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_mel_preset_can_be_chosen_and_fits_every_model(preset: str) -> None:
    register_mel_presets()
    settings = compose("preprocess", f"mel={preset}")
    assert from_mapping(MelSpec, settings["mel"]) == PRESETS[preset]
    steps = ["model.wavenet.samples_per_step=5"] * (PRESETS[preset].hop_length % 4 > 0)  # as docs/mels.md says
    for model in MODELS:
        network = built(f"model={model}", *(steps if model == "small" else []), mel=PRESETS[preset])
        assert network.spec.hop_length == PRESETS[preset].hop_length


def test_a_field_of_a_preset_can_be_overridden() -> None:
    register_mel_presets()
    settings = compose("preprocess", "mel=hifigan_22k", "mel.fmax=7600")
    assert from_mapping(MelSpec, settings["mel"]).fmax == 7600


def test_the_models_have_their_documented_sizes() -> None:
    small, r9y9 = built("model=small"), built("model=r9y9")
    assert 0.75e6 < sum(p.numel() for p in small.parameters()) < 0.85e6
    sizes = train_config("model=r9y9").model.wavenet
    assert list(asdict(sizes).values())[:6] == [24, 4, 3, 128, 256, 128]
    assert r9y9.distribution.channels == 30
    # The step itself, 2 (1 + 2 + … + 32) steps for each stack of 6 layers, and the order of the linear prediction
    assert (small.receptive_field, r9y9.receptive_field) == (4 * (1 + 3 * 126) + 24, 1 + 4 * 126 + 24)
    assert built("model.linear_prediction.kind=none").receptive_field == 4 * (1 + 3 * 126)


def test_the_defaults_in_yaml_are_those_of_the_code() -> None:
    register_mel_presets()
    train, preprocess = compose("train"), compose("preprocess")
    assert from_mapping(TrainingConfig, train["training"]) == TrainingConfig()
    assert train["training"].keys() == asdict(TrainingConfig()).keys()
    for name, group in asdict(TrainingConfig()).items():
        if isinstance(group, dict):
            assert train["training"][name].keys() == group.keys()
    for key in ("input", "output", "workers", "shard", "executor", "scheduler"):
        del preprocess[key]
    assert from_mapping(PreprocessConfig, preprocess) == PreprocessConfig(PRESETS["hifigan_22k"])
    assert preprocess.keys() == PreprocessConfig.__dataclass_fields__.keys()
    assert compose("synthesize").keys() == SynthesizeConfig.__dataclass_fields__.keys()
    assert compose("import").keys() == ImportConfig.__dataclass_fields__.keys()


@pytest.mark.parametrize("path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_no_config_can_run_code(path: Path) -> None:
    assert "_target_" not in path.read_text(encoding="utf-8")
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


@pytest.mark.parametrize(
    ("command", "override", "message"),
    [
        ("train", "training.batch.sizes=8", r"training\.batch\.sizes.*did you mean training\.batch\.size\?"),
        ("train", "trainign.batch.size=8", r"did you mean training\.batch\.size\?"),
        ("train", "modle=r9y9", r"modle.*did you mean model\?"),
        ("train", "model=r9y8", r"r9y8.*did you mean r9y9\?"),
        ("train", "experiment=dmeo", r"dmeo.*did you mean demo\?"),
        ("train", "+training.batch.sizes=8", r"unknown setting training\.batch\.sizes"),
        ("preprocess", "trim=40", r"trim.*did you mean trim_db\?"),
        ("preprocess", "mel=hifigan", r"hifigan.*did you mean hifigan_22k\?"),
        ("synthesize", "temprature=0.9", r"temprature.*did you mean temperature\?"),
    ],
)
def test_a_misspelt_setting_is_refused_with_a_suggestion(command: str, override: str, message: str) -> None:
    register_mel_presets()
    with pytest.raises(UserError, match=message):
        from_mapping(TrainConfig, compose(command, override))


def test_every_folder_of_the_package_is_listed_for_packaging() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "vocoder").rglob("__init__.py")}
    configs = {".".join(("vocoder", *path.parent.relative_to(ROOT).parts)) for path in CONFIGS.rglob("__init__.py")}
    assert listed == folders | configs
    python_folders = {path.parent for path in (ROOT / "vocoder").rglob("*.py")}
    assert all((folder / "__init__.py").exists() for folder in python_folders)
