"""The mels of callers as mels of a model: one conversion and one set of checks for every way in.

any array or tensor -> layout -> normalisation undone -> values of the model's spec -> checks
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vocoder.errors import UserError
from vocoder.features.arrays import as_mel
from vocoder.features.conversion_loss import expected_loss
from vocoder.features.convert import convert_approximately, convert_exactly, is_exact
from vocoder.features.mel_check import check_mel
from vocoder.features.mel_files import read_statistics
from vocoder.features.presets import PRESETS, preset_name
from vocoder.features.recognition import MelStatistics, recognise
from vocoder.features.spec import MelSpec
from vocoder.settings import suggestion

USUAL_BANDS = {spec.n_mels for spec in PRESETS.values()}  # what the first axis of another system's mel may be
CHECKED_FRAMES = 60  # of a stream
Layout = Literal["auto", "bands_first", "frames_first"]


@dataclass(frozen=True)
class MelFormat:
    """What mels were made with, where it is not the model's own.

    Raises:
        UserError: there is no such preset, layout or conversion.
    """

    preset: str | None = None  # a name in PRESETS; None is the model's own
    # A file with the mean and scale [n_mels] by which the mels were normalised, value = (mel - mean) / scale.
    statistics: str | None = None
    layout: Layout = "auto"  # of the axes: [n_mels, F] or [F, n_mels]; auto sees it where their lengths differ
    convert: Literal["exact", "approximate"] = "exact"  # approximate also takes mels with other filters or frames
    own: bool = False  # made by the model's own transform, so not compared with other presets

    def __post_init__(self) -> None:
        if self.preset is not None and self.preset not in PRESETS:
            raise UserError(f"mel.from={self.preset}: unknown{suggestion(self.preset, PRESETS)}")
        for name, allowed in (
            ("layout", ("auto", "bands_first", "frames_first")),
            ("convert", ("exact", "approximate")),
        ):
            if getattr(self, name) not in allowed:
                raise UserError(f"mel.{name}={getattr(self, name)}: must be {', '.join(allowed)}")


OWN = MelFormat(layout="bands_first", own=True)  # of a mel that the vocoder or a store made itself


class MelReader:
    """Turns mels of a format into mels of the model's spec.

    Args:
        statistics: of the model's training data; None where they are not known.

    Raises:
        UserError: the conversion is not exact and was not asked for, or the statistics cannot be read.
    """

    def __init__(self, spec: MelSpec, statistics: MelStatistics | None, format: MelFormat) -> None:
        self.spec, self.statistics, self.format = spec, statistics, format
        self.source = spec if format.preset is None else PRESETS[format.preset]
        self.exact = is_exact(self.source, spec)
        if not self.exact:
            self._check_conversion()
        self._normalisation  # noqa: B018  (read now, so that a missing file is an error before any work)

    def __call__(self, given: np.ndarray | Tensor, *, whole: bool = True) -> np.ndarray:
        """A float32 mel [n_mels, F] of the model's spec.

        Args:
            given: [n_mels, F] or [F, n_mels], with or without a leading axis of size 1; of any floating-point type,
                on any device and in any order in memory.
            whole: an utterance, not a piece of one, which proves less.

        Raises:
            UserError: the mel has another shape, NaN or infinite values, or values that the spec cannot have produced
                or that look like those of another preset.
        """
        mel = self._oriented(as_mel(given))
        if self._normalisation is not None and mel.ndim == 2 and len(mel) == self.source.n_mels:
            mean, scale = self._normalisation
            mel = mel * scale + mean
        if whole:
            self._refuse_other_presets(mel)
        check_mel(torch.from_numpy(mel), self.source, whole_utterance=whole)
        if self.source == self.spec:
            return mel
        convert = convert_exactly if self.exact else convert_approximately
        return convert(mel, self.source, self.spec)

    def chunks(self, given: Iterable[np.ndarray | Tensor]) -> Iterator[np.ndarray]:
        """The mels [n_mels, F] of the chunks of one mel, read as the whole would be; empty chunks are left out.

        What preset they look like is checked once, when `CHECKED_FRAMES` have arrived, or at the end.

        Raises:
            UserError: as a call, when a bad chunk arrives; or the conversion is approximate, which takes a whole mel.
        """
        if not self.exact:
            raise UserError("mel.convert=approximate: takes whole mels, not chunks of a stream")
        reader, seen, checked = self, [], False
        for chunk in map(as_mel, given):
            if not chunk.size:
                continue
            reader = reader._with_layout_of(chunk)
            mel = reader(chunk, whole=False)
            seen.append(mel)
            if not checked and sum(part.shape[1] for part in seen) >= CHECKED_FRAMES:
                self._refuse_other_presets(np.concatenate(seen, 1))
                seen, checked = [], True
            yield mel
        if seen and not checked:
            self._refuse_other_presets(np.concatenate(seen, 1))

    def _with_layout_of(self, chunk: np.ndarray) -> "MelReader":
        """This reader, with the layout that a chunk of different lengths shows."""
        if self.format.layout != "auto" or chunk.ndim != 2:
            return self
        self._refuse_ambiguous(chunk)
        layout: Layout = "bands_first" if len(chunk) == self.source.n_mels else "frames_first"
        return MelReader(self.spec, self.statistics, replace(self.format, layout=layout))

    def _oriented(self, mel: np.ndarray) -> np.ndarray:
        """The mel as [n_mels, F]."""
        bands, layout = self.source.n_mels, self.format.layout
        if mel.ndim != 2 or layout == "bands_first":
            return mel
        if layout == "auto":
            self._refuse_ambiguous(mel)
        return np.ascontiguousarray(mel.T) if layout == "frames_first" or mel.shape[1] == bands else mel

    def _refuse_ambiguous(self, mel: np.ndarray) -> None:
        bands = self.source.n_mels
        if mel.shape[1] == bands and (mel.shape[0] == bands or mel.shape[0] in USUAL_BANDS):
            raise UserError(
                f"this mel is {mel.shape[0]} × {bands}, so its axes cannot be told apart: say mel.layout=bands_first "
                "([n_mels, frames]) or mel.layout=frames_first"
            )

    @cached_property
    def _normalisation(self) -> tuple[np.ndarray, np.ndarray] | None:
        if self.format.statistics is None:
            return None
        mean, scale = read_statistics(Path(self.format.statistics), self.source.n_mels)
        return mean[:, None].astype(np.float32), scale[:, None].astype(np.float32)

    def _check_conversion(self) -> None:
        source, target = self.format.preset, preset_name(self.spec)
        if self.format.convert != "approximate":
            raise UserError(
                f"mel.from={source}: the model takes {target}, and the conversion is not exact "
                f"({self.source.differences(self.spec)}); mel.convert=approximate converts with a loss of "
                f"{expected_loss(str(source), target)}"
            )

    @property
    def warning(self) -> str | None:
        """What is lost by the conversion; None where it is exact."""
        if self.exact:
            return None
        loss = expected_loss(str(self.format.preset), preset_name(self.spec))
        return f"mels of {self.format.preset} for {preset_name(self.spec)}: an approximation, with a loss of {loss}"

    def _refuse_other_presets(self, mel: np.ndarray) -> None:
        """Raises UserError for a mel that looks like another preset's, unless the caller has said which it is."""
        if self.statistics is None or self.format.preset is not None or self.format.own:
            return
        if mel.ndim != 2 or len(mel) != self.spec.n_mels or not np.isfinite(mel).all():
            return  # `check_mel` says so
        found = recognise(mel, self.spec, self.statistics)
        if found is None:
            return
        own = preset_name(self.spec)
        as_it_is = f"; mel.from={own} takes it as it is" if own != "custom" else ""
        advice = found.advice
        if found.name in PRESETS and not is_exact(PRESETS[found.name], self.spec):
            advice = f"mel.from={found.name} mel.convert=approximate converts it"
        raise UserError(f"this mel looks like {found.name}, and the model takes {own}: {advice}{as_it_is}")
