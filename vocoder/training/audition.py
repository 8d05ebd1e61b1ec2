"""An audition: free-running synthesis of fixed dev utterances during training, logged next to the originals."""

from collections.abc import Callable

from vocoder.features.audio import int16_to_waveform
from vocoder.synthesis import Request, Vocoder
from vocoder.training.monitor import Monitor
from vocoder.training.trainer import Trainer

MIN_FRAMES = 4  # shorter utterances are left out


def audition(trainer: Trainer, monitor: Monitor, progress: Callable[[int], None] = lambda samples: None) -> None:
    """Synthesise with the EMA weights and always the same noise; log waves, and pictures of them and their mels.

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
    waves = Vocoder(trainer.ema_model()).synthesize_batch(requests, trainer.config.seed, progress=progress)
    for target, wave in zip(targets, waves, strict=True):
        name = target.entry.id
        shown = {"target": int16_to_waveform(target.wave), f"synthesized, step {trainer.step}": wave}
        for title, waveform in shown.items():
            monitor.audio(trainer.step, f"{title.split(',')[0]}/{name}", waveform, spec.sample_rate)
        monitor.pictures(trainer.step, f"mel/{name}", shown, spec)
