"""Measure the joins of folded synthesis: signal changes there, compared with unfolded synthesis of the same speech.

    python -m scripts.experiments.measure_joins RUN STORE [--utterances 20] [--split test] [--output DIR]

Counts the joins whose spectral flux or level jump exceeds the 95th percentile of the same utterance
synthesised in one piece. Of random positions 5 % exceed it. Joins are not at random positions, so the share of the same
positions in the unfolded speech, printed beside it, is what to compare with.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from vocoder import load
from vocoder.commands import cli
from vocoder.data.store import Store
from vocoder.evaluation import changes_at_joins
from vocoder.features.audio import int16_to_waveform, waveform_to_int16, write_wav
from vocoder.synthesis import Request
from vocoder.synthesis.folding import pieces_of


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--utterances", type=int, default=20)
    parser.add_argument("--split", default="test")
    parser.add_argument("--output", type=Path, help="folder for the wavs")
    arguments = parser.parse_args()
    vocoder, store = load(arguments.run, postfilter=0), Store(arguments.store)
    rate, hop = vocoder.sample_rate, vocoder.spec.hop_length
    entries = sorted(store.split(arguments.split), key=lambda entry: -entry.frames)[: arguments.utterances]
    requests = [Request(entry.id, store.read(entry).mel.T.copy()) for entry in entries]
    changes = []
    for request, unfolded in zip(requests, vocoder.synthesize_batch(requests), strict=True):
        folded = int16_to_waveform(vocoder.synthesize_folded(request))
        joins = [piece.start * hop + hop // 2 for piece in pieces_of(np.asarray(request.mel), vocoder.model)[1:]]
        if joins:
            changes.append(changes_at_joins(folded, unfolded, joins, rate))
        if arguments.output:
            write_wav(arguments.output / f"{request.id}.folded.wav", waveform_to_int16(folded), rate)
            write_wav(arguments.output / f"{request.id}.whole.wav", waveform_to_int16(unfolded), rate)
    for name in ("spectral flux", "level jump"):
        attribute = name.replace(" ", "_")
        at_joins, at_same = (
            np.concatenate([getattr(change, f"{attribute}{suffix}") for change in changes])
            for suffix in ("", "_unfolded")
        )
        share, share_unfolded = (100 * (values > 1).mean() for values in (at_joins, at_same))
        print(
            f"{name}: {len(at_joins)} joins in {len(changes)} utterances, {share:.1f} % above the 95th percentile "
            f"({share_unfolded:.1f} % at the same positions unfolded), median {np.median(at_joins):.2f} of it "
            f"({np.median(at_same):.2f}), largest {at_joins.max():.2f} ({at_same.max():.2f})"
        )


if __name__ == "__main__":
    sys.exit(cli.report_errors("measure_joins", main))
