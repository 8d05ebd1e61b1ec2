"""The commands that one would give for a corpus, by what was found in it."""

import re
import shlex
from pathlib import Path

import numpy as np

from vocoder.doctor.diagnosis import SILENCE_SECONDS, Diagnosis
from vocoder.features.mel import PRESETS

LARGE_HOURS = 5.0  # enough for a large network and a long training
MOST = 0.9  # of the recordings: what the rate and the band of this share allow counts


def suggested_commands(diagnosis: Diagnosis, layout: str, speaker: str) -> list[str]:
    """Preprocessing and training; none for a corpus without usable recordings.

    Args:
        layout, speaker: the settings with which the corpus was read.
    """
    if not diagnosis.usable:
        return []
    name = _name(diagnosis.root)
    preprocess = ["vocoder-preprocess", f"input={shlex.quote(diagnosis.root)}", f"output=data/{name}"]
    preprocess += [f"mel={_preset(diagnosis)}"]
    preprocess += [f"layout={layout}"] if layout != "auto" else []
    preprocess += [f"speaker={speaker}"] if speaker != "auto" else []
    preprocess += ["trim_db=40"] if _has_silent_ends(diagnosis) else []
    preprocess += ["dev_fraction=0.05"] if _dev_is_of_others(diagnosis) else []
    train = ["vocoder-train", f"data=data/{name}", f"name={name}"]
    if diagnosis.hours >= LARGE_HOURS:
        train += ["experiment=vctk" if len(diagnosis.speakers) > 1 else "experiment=ljspeech"]
    return [" ".join(preprocess), " ".join(train)]


def _dev_is_of_others(diagnosis: Diagnosis) -> bool:
    """Whether the corpus's own dev has no speaker of train, so that a model with speakers could not be evaluated."""
    speakers = {
        split: {each.speaker for each in diagnosis.usable if each.split == split} - {None} for split in ("train", "dev")
    }
    return bool(speakers["dev"]) and not speakers["dev"] & speakers["train"]


def _name(root: str) -> str:
    """A name for the store and the run, of letters that need no quotes."""
    path = Path(root).resolve()
    name = path.stem if path.is_file() else path.name
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "corpus"


def _preset(diagnosis: Diagnosis) -> str:
    """The default preset, unless most of the corpus has a lower rate or a narrower band than it models."""
    default, lower = PRESETS["hifigan_22k"], "speech_16k"
    rates = [each.sample_rate for each in diagnosis.usable if each.sample_rate]
    bands = [each.bandwidth for each in diagnosis.usable if each.bandwidth is not None]
    enough = np.percentile(rates, 100 * (1 - MOST)) >= default.sample_rate
    wide = np.percentile(bands, 100 * (1 - MOST)) > PRESETS[lower].sample_rate / 2
    return "hifigan_22k" if enough and wide else lower


def _has_silent_ends(diagnosis: Diagnosis) -> bool:
    return any(diagnosis.distributions[name].median > SILENCE_SECONDS for name in ("leading", "trailing"))
