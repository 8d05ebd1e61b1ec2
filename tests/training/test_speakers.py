"""Two real speakers: one model for both, selected by name; held-out speakers; balanced sampling."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.training_state import train

from vocoder.data.dataset import Margins, SegmentBatches
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.evaluation.likelihood import likelihood
from vocoder.features.mel import PRESETS
from vocoder.model import VocoderConfig, find_checkpoint, load_model
from vocoder.synthesis import Vocoder
from vocoder.training import Trainer
from vocoder.training.config import BatchConfig, CheckpointConfig, LengthConfig, TrainingConfig

pytestmark = pytest.mark.xdist_group("two voices")  # one process makes the store
TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("voices")
    shutil.copytree(TESTS / "speech/allison", folder / "allison", ignore=shutil.ignore_patterns("*.md"))
    shutil.copytree(TESTS / "speech/june", folder / "june")
    return folder


def stored(voices: Path, directory: Path, **options: Any) -> Store:
    config = PreprocessConfig(PRESETS["speech_16k"], speaker="folder", **options)
    preprocess(voices, directory, config, 0, lambda items, *_: items)
    return Store(directory)


@pytest.fixture(scope="module")
def two_voices(voices: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return stored(voices, tmp_path_factory.mktemp("two") / "store")


def test_a_model_of_two_speakers_synthesises_each_by_name(
    two_voices: Store, config: VocoderConfig, make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    assert two_voices.speakers == ("allison", "june")
    assert {entry.id: entry.speaker for entry in two_voices.entries}["june/hello-world"] == "june"
    model = replace(config, speakers=two_voices.speakers, model=replace(config.model, speaker_channels=4))
    training = replace(
        make_trainer().config,
        length=LengthConfig(steps=80),
        batch=BatchConfig(4, 8),
        checkpoint=CheckpointConfig(every=40, dev_seconds=1.0),
    )
    trainer = Trainer(model, two_voices, training, torch.device("cpu"))
    before = trainer.evaluate()
    initial = trainer.model.speaker_embedding.weight.detach().clone()
    train(trainer, tmp_path)
    assert trainer.state.dev_bits < before
    moved = (trainer.model.speaker_embedding.weight.detach() - initial).abs().amax(1)
    assert (moved > 1e-4).all()  # both speakers were trained on

    loaded = load_model(find_checkpoint(tmp_path))
    assert loaded.speakers == ("allison", "june")
    vocoder, entry = Vocoder(loaded), two_voices.entries[0]
    mel = two_voices.read(entry, 0, 12).mel.T.copy()
    allison, june = (vocoder.synthesize(mel, speaker=name) for name in ("allison", "june"))
    assert allison.shape == june.shape == (12 * 200,)
    assert not np.array_equal(allison, june)
    with pytest.raises(UserError, match="allison, june"):
        vocoder.synthesize(mel, speaker="eve")
    assert np.isfinite(likelihood(loaded, two_voices, two_voices.split("dev")).per_sample)


def test_dev_utterances_of_speakers_who_are_not_learned_are_left_out(
    voices: Path, config: VocoderConfig, make_trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    """As in corpora whose own dev split has other speakers than train."""
    store = stored(voices, tmp_path / "store", dev_fraction=0.3)
    dev = store.split("dev")
    assert {entry.speaker for entry in dev} == {"allison", "june"}
    model = replace(config, speakers=("june",), model=replace(config.model, speaker_channels=4))
    trainer = Trainer(model, store, make_trainer().config, torch.device("cpu"))
    assert {entry.speaker for entry in trainer.dev_entries()} == {"june"}
    assert np.isfinite(trainer.evaluate(lambda entries: entries))
    nobody = replace(model, speakers=("ann",))
    with pytest.raises(UserError, match="no dev utterances of the speakers that are learned"):
        Trainer(nobody, store, make_trainer().config, torch.device("cpu")).dev_entries()


def test_a_held_out_speaker_is_in_the_test_split_only(voices: Path, tmp_path: Path) -> None:
    store = stored(voices, tmp_path / "store", hold_out=("june",))
    assert store.speakers == ("allison",)
    splits = {(entry.speaker, entry.split) for entry in store.entries}
    assert ("june", "test") in splits
    assert not splits & {("june", "train"), ("june", "dev")}
    (store.directory / "index.npy").unlink()
    assert {(entry.speaker, entry.split) for entry in Store(store.directory).entries} == splits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hold_out": ("eve",)}, "hold_out=eve: no such speaker; there are allison, june"),
        ({"hold_out": ("allison", "june")}, "no speaker is left to train on"),
    ],
)
def test_holding_out_unknown_speakers_or_all_of_them_is_refused(
    voices: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        stored(voices, tmp_path / "store", **options)
    assert not (tmp_path / "store").exists()


def test_holding_out_speakers_needs_their_names() -> None:
    with pytest.raises(UserError, match="hold_out=june: with speaker=none, no speaker has a name"):
        PreprocessConfig(PRESETS["speech_16k"], speaker="none", hold_out=("june",))


def test_balanced_speakers_are_drawn_equally_often_with_uniform_segments(
    make_counting_store: Callable[..., Store],
) -> None:
    """Ann has utterances of 10, 30 and 50 frames, bob of 20 and 40."""
    store = make_counting_store([10, 20, 30, 40, 50], speakers=("ann", "bob"))

    def shares(sampling: Any) -> dict[str, float]:
        data = SegmentBatches(store, 50, 5, Margins(1, 1), 0, sampling)
        drawn = [id for n in range(200) for id in data[n].ids]
        return {f"u{u}": drawn.count(f"u{u}") / len(drawn) for u in range(5)}

    starts = {"u0": 6, "u1": 16, "u2": 26, "u3": 36, "u4": 46}
    error = 0.03
    assert shares("lengths") == pytest.approx({u: n / 130 for u, n in starts.items()}, abs=error)
    assert shares("utterances") == pytest.approx(dict.fromkeys(starts, 0.2), abs=error)
    of_ann, of_bob = 6 + 26 + 46, 16 + 36
    balanced = {u: n / (2 * (of_bob if u in ("u1", "u3") else of_ann)) for u, n in starts.items()}
    assert shares("speakers") == pytest.approx(balanced, abs=error)
    assert TrainingConfig().batch.sampling == "lengths"
