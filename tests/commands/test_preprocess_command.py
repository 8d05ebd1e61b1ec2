"""vocoder-preprocess: what it prints about a store."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder.commands.cli import count

SPEECH = Path(__file__).parent.parent / "speech/allison"


@pytest.mark.parametrize(("silent", "skipped"), [(1, "1 file skipped"), (2, "2 files skipped")])
def test_the_summary_counts_utterances_and_skipped_files(
    command: Callable[..., Any], tmp_path: Path, silent: int, skipped: str
) -> None:
    source, store = tmp_path / "in", tmp_path / "store"
    source.mkdir()
    for recording in sorted(SPEECH.glob("*.flac"))[:3]:
        shutil.copy(recording, source)
    for i in range(silent):
        soundfile.write(source / f"silent{i}.wav", np.zeros(16000), 16000)
    result = command("preprocess", f"input={source}", f"output={store}", "mel=speech_16k", "workers=0")
    assert result.code == 0
    first, train, dev, test, skips, *reasons = result.out.splitlines()
    assert first.startswith(f"{store}: speech_16k, gain ")
    assert [line.split()[:3] for line in (train, dev, test)] == [
        [s, "1", "utterance"] for s in ("train", "dev", "test")
    ]
    assert skips == f"  {skipped}; the reasons are in {store}/manifest.jsonl:"
    assert reasons == [f"    {source}/silent{i}.wav: silence (peak 0.00000 is below 0.001)" for i in range(silent)]
    assert {line.split(":")[0] for line in result.err.splitlines()} == {"measuring levels", "preprocessing"}


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_a_count_has_the_right_plural(number: int, text: str) -> None:
    assert count(number, "file") == text
