"""Compare the cpu engine with the reference engine: parameters, bits per sample, and generated waveforms.

    python -m scripts.experiments.compare_engines RUN STORE [--utterances 50] [--frames 80] [--split dev]

teacher-forced   largest difference of the distribution parameters from the reference engine's, and bits per sample of
                 the recordings
free-running     number of samples before the first that differs from the reference engine's (once rounding changes a
                 sample by one level, the waveforms diverge), and bits per sample of the generated waveforms under the
                 model's own forward pass
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vocoder import load
from vocoder.commands import cli
from vocoder.data.store import Store
from vocoder.engines import Engine, Noise, pick_engine
from vocoder.evaluation.likelihood import NATS_PER_BIT
from vocoder.features.audio import int16_to_grid, waveform_to_int16
from vocoder.kernels import processor
from vocoder.model import VocoderModel, extend_edges
from vocoder.synthesis import Request, Vocoder, frames_of


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--utterances", type=int, default=50)
    parser.add_argument("--frames", type=int, default=80, help="frames of each utterance, from its start")
    parser.add_argument("--split", default="dev")
    arguments = parser.parse_args()
    model, store = load(arguments.run, "cpu").model, Store(arguments.store)
    entries = [entry for entry in store.split(arguments.split) if entry.frames >= arguments.frames]
    utterances = [store.read(entry, 0, arguments.frames) for entry in entries[: arguments.utterances]]
    mels = np.stack([u.mel.T for u in utterances])
    recorded = torch.from_numpy(int16_to_grid(np.stack([u.wave for u in utterances])))
    engines: dict[str, Engine] = {
        "reference": pick_engine(model, "reference"),
        "cpu float32": pick_engine(model, "cpu"),
    }
    if processor.HAS_BF16:
        engines["cpu bfloat16"] = pick_engine(model, "cpu", "bfloat16")
    print(f"{len(utterances)} utterances of {arguments.frames} frames")
    reference_params, reference_waves = None, None
    for name, engine in engines.items():
        params = teacher_forced(engine, recorded, mels)
        waves = generate(engine, mels)
        if reference_params is None or reference_waves is None:
            reference_params, reference_waves = params, waves
        print(
            f"{name:13} parameters within {float((params - reference_params).abs().max()):.1e}, "
            f"recordings {bits(model.distribution.log_prob(params, recorded)):.4f} bits; generated: agrees for "
            f"{agreement(waves, reference_waves)}, {bits_of_generated(model, waves, mels)} bits by the model"
        )


def teacher_forced(engine: Engine, waves: torch.Tensor, mels: np.ndarray) -> torch.Tensor:
    """Parameters [B, P, T] of the distributions of samples [B, T], each given the true past."""
    model, hop = engine.model, engine.model.spec.hop_length
    utterances = []
    for wave, mel in zip(waves.numpy(), mels, strict=True):
        frames = list(frames_of(model, [mel], Noise(0, [""], model.distribution.uniforms)))
        pieces = [np.zeros((model.history_frames, hop), np.float32), wave.reshape(-1, hop)]
        utterances.append([replace(f, forced=piece) for f, piece in zip(frames, np.concatenate(pieces), strict=True)])
    lanes = engine.lanes(len(waves))
    params = [torch.from_numpy(lanes.predict(frames)) for frames in zip(*utterances, strict=True)]
    return torch.cat(params[model.history_frames :], 2)


def generate(engine: Engine, mels: np.ndarray) -> np.ndarray:
    """Free-running synthesis: int16 waves [B, T]."""
    requests = [Request(str(i), mel) for i, mel in enumerate(mels)]
    return waveform_to_int16(np.stack(Vocoder(engine.model, engine, postfilter=0).synthesize_batch(requests)))


def agreement(waves: np.ndarray, reference: np.ndarray) -> str:
    """Median and quartiles of the number of samples before the first difference, int16 waves [B, T] each."""
    differs = waves != reference
    lengths = np.where(differs.any(1), differs.argmax(1), waves.shape[1])
    low, middle, high = np.quantile(lengths, (0.25, 0.5, 0.75))
    return f"{middle:.0f} samples (quartiles {low:.0f}, {high:.0f})"


@torch.inference_mode()
def bits_of_generated(model: VocoderModel, waves: np.ndarray, mels: np.ndarray) -> str:
    """Bits per sample of generated waves under the model's forward pass: mean and standard error."""
    history = model.history_frames * model.spec.hop_length
    padded = torch.nn.functional.pad(torch.from_numpy(int16_to_grid(waves)), (history, 0))
    extended = extend_edges(torch.from_numpy(mels), model.history_frames + model.context_frames, model.context_frames)
    each = [
        -float(model.log_prob(w[None], m[None]).mean()) / NATS_PER_BIT for w, m in zip(padded, extended, strict=True)
    ]
    return f"{np.mean(each):.3f} ± {np.std(each) / len(each) ** 0.5:.3f}"


def bits(log_prob: torch.Tensor) -> float:
    """Mean bits per sample."""
    return -float(log_prob.double().mean()) / NATS_PER_BIT


if __name__ == "__main__":
    sys.exit(cli.report_errors("compare_engines", main))
