"""Log-mel distance of synthesised speech from its target, compared with Griffin-Lim on the same mels.

    python -m scripts.experiments.compare_griffin_lim RUN STORE [--utterances 10] [--split test] [--output DIR]

Both get only the mel; the distance is between that mel and the mel of their output. Griffin-Lim (librosa, 60
iterations) optimises exactly this distance, whereas a model that samples does not, so listen to the wavs as well.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from vocoder import load
from vocoder.commands import cli
from vocoder.data.store import Store
from vocoder.evaluation import griffin_lim, log_mel_distance
from vocoder.features.audio import waveform_to_int16, write_wav
from vocoder.synthesis import Request


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--utterances", type=int, default=10)
    parser.add_argument("--split", default="test")
    parser.add_argument("--output", type=Path, help="folder for the wavs")
    arguments = parser.parse_args()
    vocoder, store = load(arguments.run, postfilter=0), Store(arguments.store)
    spec = store.spec
    utterances = [store.read(entry) for entry in store.split(arguments.split)[: arguments.utterances]]
    mels = [utterance.mel.T.copy() for utterance in utterances]
    requests = [
        Request(u.entry.id, mel, u.entry.speaker if vocoder.model.speakers else None)
        for u, mel in zip(utterances, mels, strict=True)
    ]
    synthesized = vocoder.synthesize_batch(requests)
    print(f"log-mel distance to the target in dB\n{'utterance':40} {'seconds':>7} {'model':>7} {'Griffin-Lim':>11}")
    rows = []
    for request, wave in zip(requests, synthesized, strict=True):
        reconstructed = griffin_lim(np.asarray(request.mel), spec)
        target = torch.from_numpy(request.mel)
        row = [log_mel_distance(torch.from_numpy(w), target, spec) for w in (wave, reconstructed)]
        rows.append(row)
        print(f"{request.id:40} {len(wave) / spec.sample_rate:7.2f} {row[0]:7.2f} {row[1]:11.2f}")
        if arguments.output:
            for name, w in (("model", wave), ("griffin-lim", reconstructed)):
                write_wav(arguments.output / f"{request.id}.{name}.wav", waveform_to_int16(w), spec.sample_rate)
    print(f"{'mean':40} {'':7} {np.mean(rows, axis=0)[0]:7.2f} {np.mean(rows, axis=0)[1]:11.2f}")


if __name__ == "__main__":
    sys.exit(cli.report_errors("compare_griffin_lim", main))
