"""Free-running synthesis of fixed dev utterances during training, logged next to the originals."""

from collections.abc import Callable

import torch

from vocoder.features.audio import int16_to_waveform
from vocoder.features.mel import log_mel
from vocoder.synthesis import Request, Vocoder
from vocoder.training.monitor import Monitor
from vocoder.training.trainer import Trainer

MIN_FRAMES = 4  # shorter utterances are left out


def audition(trainer: Trainer, monitor: Monitor, progress: Callable[[int], None] = lambda samples: None) -> None:
    """Synthesise with the averaged weights and always the same noise; log waves and mels.

    Args:
        progress: called during synthesis; an exception from it ends the audition.
    """
    store, config = trainer.store, trainer.config.audition
    spec = store.spec
    frames = max(MIN_FRAMES, round(config.seconds * spec.sample_rate / spec.hop_length))
    entries = [entry for entry in trainer.dev_entries() if entry.frames >= MIN_FRAMES][: config.utterances]
    targets = [store.read(entry, 0, min(frames, entry.frames)) for entry in entries]
    requests = [
        Request(target.entry.id, target.mel.T.copy(), trainer.model.speaker_name(target.entry.speaker))
        for target in targets
    ]
    if not requests:
        return
    waves = Vocoder(trainer.averaged_model()).synthesize_batch(requests, trainer.config.seed, on_samples=progress)
    for target, wave in zip(targets, waves, strict=True):
        name = target.entry.id
        mel = log_mel(torch.from_numpy(wave), spec).numpy()
        monitor.audio(trainer.step, f"target/{name}", int16_to_waveform(target.wave), spec.sample_rate)
        monitor.audio(trainer.step, f"synthesized/{name}", wave, spec.sample_rate)
        mels = {"target": target.mel.T, f"synthesized, step {trainer.step}": mel}
        monitor.mels(trainer.step, f"mel/{name}", mels, spec.hop_length / spec.sample_rate)
