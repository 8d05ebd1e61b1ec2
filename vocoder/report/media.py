"""What the page plays and shows of an utterance: inside the page as long as there is room, else as files beside it."""

import base64
import io
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soundfile

from vocoder.evaluation.results import Utterance
from vocoder.features.audio import waveform_to_int16
from vocoder.features.loudness import loudness
from vocoder.files import atomic_write
from vocoder.report.pictures import difference_panel, mel_limits, mel_panel, safe_name, wave_panel
from vocoder.report.waves import Waves, load_waves


@dataclass
class MediaWriter:
    """Makes the sounds and pictures of utterances, and keeps count of what is inside the page.

    Attributes:
        folder: of the evaluation.
        systems: names, the original's first.
        reference: the system from which differences are drawn; None draws none.
        room: bytes of the page that are left for sounds and pictures.
        embedded: utterances that are inside the page.
    """

    folder: Path
    systems: list[str]
    reference: str | None
    room: int
    embedded: int = field(default=0, init=False)

    def media(self, utterance: Utterance) -> dict[str, Any]:
        """The sounds and pictures of an utterance as the page's script takes them.

        An utterance is inside the page with all its versions or not at all, because only decoded sounds are switched
        on the same sample, and a browser decodes no files of a page that was opened from disk.

        Raises:
            UserError: a wav cannot be read, or a picture cannot be written.
        """
        found = load_waves(self.folder, utterance, self.systems)
        pictures = self._pictures(found)
        sounds = {name: ("audio/flac", flac(wave, found.spec.sample_rate)) for name, wave in found.waves.items()}
        uris = {kind: _data_uris(files) for kind, files in (pictures | {"audio": sounds}).items()}
        size = sum(len(uri) for by_system in uris.values() for uri in by_system.values())
        inside = size <= self.room
        if inside:
            self.room -= size
            self.embedded += 1
        else:
            uris = {kind: self._beside(utterance.id, kind, files) for kind, files in pictures.items()}
            uris["audio"] = {name: relative_uri(utterance.renditions[name].wav) for name in found.waves}
        return {
            "inside": inside,
            "seconds": found.seconds,
            "highest": found.spec.fmax,
            "versions": {name: self._version(name, utterance, found, uris) for name in found.waves},
        }

    def _version(
        self, name: str, utterance: Utterance, found: Waves, uris: dict[str, dict[str, str]]
    ) -> dict[str, Any]:
        lufs = loudness(found.waves[name], found.spec.sample_rate)
        faults = [[a.kind, a.start, a.stop] for a in utterance.renditions[name].artefacts]
        shown = {kind: by_system[name] for kind, by_system in uris.items() if name in by_system}
        return shown | {"loudness": lufs if math.isfinite(lufs) else None, "faults": faults}

    def _pictures(self, found: Waves) -> dict[str, dict[str, tuple[str, bytes]]]:
        """PNGs with their media type, by kind of picture and name of system."""
        peak = max(float(np.abs(wave).max()) for wave in found.waves.values())
        limits, reference = mel_limits(found.mels), found.mels.get(self.reference or "")
        panels = {
            "wave": {name: wave_panel(wave, peak) for name, wave in found.waves.items()},
            "mel": {name: mel_panel(mel, limits) for name, mel in found.mels.items()},
            "difference": {
                name: difference_panel(mel, reference, limits)
                for name, mel in found.mels.items()
                if reference is not None and name != self.reference
            },
        }
        return {kind: {name: ("image/png", png) for name, png in files.items()} for kind, files in panels.items()}

    def _beside(self, id: str, kind: str, files: dict[str, tuple[str, bytes]]) -> dict[str, str]:
        """Write pictures as files; return their addresses relative to the page."""
        addresses = {}
        for name, (_, content) in files.items():
            path = f"pictures/{safe_name(id)}-{self.systems.index(name)}-{kind}.png"
            with atomic_write(self.folder / path) as partial:
                partial.write_bytes(content)
            addresses[name] = path
        return addresses


def relative_uri(path: str) -> str:
    """A relative path, with `/`, as the address of the same file; its first part is never taken for a scheme."""
    return "./" + quote(path, errors="surrogateescape")


def flac(wave: np.ndarray, sample_rate: int) -> bytes:
    """A waveform [T] in [-1, 1] as 16-bit FLAC: lossless, half the size of a wav, and decoded by all browsers."""
    encoded = io.BytesIO()
    soundfile.write(encoded, waveform_to_int16(wave), sample_rate, format="FLAC", subtype="PCM_16")
    return encoded.getvalue()


def _data_uris(files: dict[str, tuple[str, bytes]]) -> dict[str, str]:
    return {
        name: f"data:{media_type};base64,{base64.b64encode(content).decode()}"
        for name, (media_type, content) in files.items()
    }
