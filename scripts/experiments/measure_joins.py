"""Whether the joins of folded synthesis can be heard: what changes there, beside the same speech unfolded.

    python -m scripts.experiments.measure_joins RUN STORE [--utterances 20] [--split test] [--output DIR]

A join has more spectral flux, or a larger jump of level, than 95 % of the places of the same utterance synthesised in
one piece, or it has not. Of places chosen at random 5 % have; those where joins are made, more or fewer even unfolded.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from vocoder import load
from vocoder.commands import cli
from vocoder.data.store import Store
from vocoder.evaluation import seams
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
    vocoder, store = load(arguments.run), Store(arguments.store)
    rate, hop = vocoder.sample_rate, vocoder.spec.hop_length
    entries = sorted(store.split(arguments.split), key=lambda entry: -entry.frames)[: arguments.utterances]
    requests = [Request(entry.id, store.read(entry).mel.T.copy()) for entry in entries]
    rows = []
    for request, whole in zip(requests, vocoder.synthesize_batch(requests), strict=True):
        folded = int16_to_waveform(vocoder.synthesize_folded(request))
        joins = [piece.start * hop + hop // 2 for piece in pieces_of(request.mel, vocoder.model)[1:]]
        if joins:
            rows.append(seams(folded, whole, joins, rate))
        if arguments.output:
            write_wav(arguments.output / f"{request.id}.folded.wav", waveform_to_int16(folded), rate)
            write_wav(arguments.output / f"{request.id}.whole.wav", waveform_to_int16(whole), rate)
    for name in ("flux", "jump"):
        ours, theirs = (np.concatenate([getattr(row, f"{name}{end}") for row in rows]) for end in ("", "_unfolded"))
        share, share_unfolded = (100 * (values > 1).mean() for values in (ours, theirs))
        print(
            f"{name}: {len(ours)} joins in {len(rows)} utterances, {share:.1f} % above the 95th percentile elsewhere "
            f"({share_unfolded:.1f} % at the same places unfolded), median {np.median(ours):.2f} of it "
            f"({np.median(theirs):.2f}), largest {ours.max():.2f} ({theirs.max():.2f})"
        )


if __name__ == "__main__":
    sys.exit(cli.report_errors("measure_joins", main))
