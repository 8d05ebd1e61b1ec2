"""Free-running synthesis of fixed dev utterances during training, to be heard and seen beside the target."""

from collections.abc import Callable

import torch

from vocoder.features.audio import int16_to_waveform
from vocoder.features.mel import log_mel
from vocoder.synthesis import Request, Vocoder
from vocoder.training.monitor import Monitor
from vocoder.training.trainer import Trainer


def audition(trainer: Trainer, monitor: Monitor, progress: Callable[[int], None] = lambda samples: None) -> None:
    """By the averaged weights, always with the same noise. `progress` may raise, to have it given up."""
    store, settings = trainer.store, trainer.settings.audition
    spec = store.spec
    frames = max(4, round(settings.seconds * spec.sample_rate / spec.hop_length))
    entries = [entry for entry in trainer.dev_entries() if entry.frames >= 4][: settings.utterances]
    targets = [store.read(entry, 0, min(frames, entry.frames)) for entry in entries]
    requests = [
        Request(target.entry.id, target.mel.T.copy(), trainer.model.speaker_name(target.entry.speaker))
        for target in targets
    ]
    if not requests:
        return
    waves = Vocoder(trainer.averaged_model()).synthesize_batch(requests, trainer.settings.seed, progress=progress)
    for target, wave in zip(targets, waves, strict=True):
        name = target.entry.id
        mel = log_mel(torch.from_numpy(wave), spec).numpy()
        monitor.audio(trainer.step, f"target/{name}", int16_to_waveform(target.wave), spec.sample_rate)
        monitor.audio(trainer.step, f"synthesized/{name}", wave, spec.sample_rate)
        pictures = {"target": target.mel.T, f"synthesized, step {trainer.step}": mel}
        monitor.mels(trainer.step, f"mel/{name}", pictures, spec.hop_length / spec.sample_rate)
