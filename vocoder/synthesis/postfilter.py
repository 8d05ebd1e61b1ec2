"""A post-filter that brings the mel of a synthesised wave closer to the mel that it was made from.

A wave that a network draws sample by sample has its mel only on average: errors add up, and nothing corrects the level
of a band once it has gone astray. But the mel says what the level should be. So each pass of the filter

    spectrum = short-time spectrum of the wave, with the window and hop of the mel
    gain     = mel given - mel of the wave             of each band and frame, in nepers, within limits
    wave     = inverse of exp(gain of each bin) * spectrum, by overlap-add

changes magnitudes alone and leaves phases, pitch and what lies between the harmonics to the network. One pass cannot
reach the mel, because neighbouring frames share samples: a few passes come close. It is the step of Griffin and Lim
(1984) towards a given magnitude, with the network's phases and with bands in place of bins.

Boosts are limited more than cuts: noise is easier to take away than speech is to add. A frame next to a much louder one
is boosted no more than that one, or noise would swell before a sound that starts late.
"""

import math
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.sparse import csr_array

from vocoder.errors import UserError
from vocoder.features.audio import int16_to_waveform, waveform_to_int16
from vocoder.features.mel import MelSpec, hann_window, mel_filterbank, prefiltered
from vocoder.features.spec import HIGHPASS_TAPS

PASSES = 5  # by default
FRAMES_AT_ONCE = 64  # bounds the memory of a long utterance's spectra
STREAM_FRAMES = 4  # of a stream are filtered together: a third of the work of one by one
MAX_BOOST, MAX_CUT = math.log(1.4), math.log(100)  # nepers, of one pass: 3 dB and 40 dB
REACH, MUCH_LOUDER = 2, math.log(2)  # frames on either side in which a band 6 dB louder limits a boost


class PostFilter:
    """The filter for mels of one kind; with no passes it changes nothing.

    Inside, an utterance is an array with a row [n_mels + hop_length] for each frame: its log-mel, then its samples.
    Each row is filtered by the same sums in the same order, however many are filtered at once. So the result is the
    same to the bit whether an utterance is there as a whole or arrives frame by frame.

    Raises:
        UserError: the number of passes is negative, or the mel's windows do not overlap by half.
    """

    def __init__(self, spec: MelSpec, passes: int = PASSES) -> None:
        if passes < 0:
            raise UserError(f"postfilter={passes}: must be 0 (no post-filter) or the number of its passes")
        if passes and not can_filter(spec):
            raise UserError(
                f"postfilter={passes}: windows of {spec.win_length} samples every {spec.hop_length} overlap by less "
                "than half; take 0"
            )
        self.spec, self.passes = spec, passes
        hop = spec.hop_length
        self._before = spec.window_reach[0] - (spec.n_fft - spec.win_length) // 2  # samples of a window before its hop
        after = spec.win_length - hop - self._before
        covering = -(-spec.win_length // (2 * hop))  # frames on either side whose windows cover a sample of a frame
        self._edge = covering + REACH  # … and those that limit their gains
        taps = HIGHPASS_TAPS // 2 if spec.highpass else 0
        reach = max(self._before, after) + taps + (spec.preemphasis > 0)  # of what the mel hears the wave through
        self._lead = -(-reach // hop)  # frames that a frame's window reaches into
        self.context = self._edge + self._lead  # frames on either side that a frame's filtered samples depend on

    @property
    def delay(self) -> int:
        """Frames, at most, that must follow a frame of a stream before it is filtered."""
        return self.passes * self.context + STREAM_FRAMES - 1 if self.passes else 0

    def __call__(self, mel: np.ndarray, wave: np.ndarray) -> np.ndarray:
        """The filtered int16 wave [F * hop_length] of one that was synthesised from log-mel [n_mels, F]."""
        if not self.passes or not len(wave):
            return wave
        rows = self._rows(mel, wave)
        for _ in range(self.passes):
            rows = np.concatenate(list(self._pass([rows])))
        return self._wave(rows)

    def stream(self, chunks: Iterable[tuple[np.ndarray, np.ndarray]]) -> Iterator[np.ndarray]:
        """Yield the filtered int16 wave [hop_length] of each frame, when no more than `delay` more have arrived.

        Args:
            chunks: (log-mel [n_mels, F], int16 wave [F * hop_length]), of any lengths.
        """
        rows: Iterable[np.ndarray] = (self._rows(mel, wave) for mel, wave in chunks)
        if self.passes:
            rows = in_groups(rows, STREAM_FRAMES)
        for _ in range(self.passes):
            rows = self._pass(rows)
        for part in rows:
            yield from self._wave(part).reshape(len(part), -1)

    def _rows(self, mel: np.ndarray, wave: np.ndarray) -> np.ndarray:
        return np.concatenate((mel.T, int16_to_waveform(wave).reshape(mel.shape[1], -1)), 1)

    def _wave(self, rows: np.ndarray) -> np.ndarray:
        return waveform_to_int16(rows[:, self.spec.n_mels :].reshape(-1))

    def _pass(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Filter rows once, as they arrive."""
        rows = None
        for chunk in self._with_mirrored_ends(chunks):
            rows = chunk if rows is None else np.concatenate((rows, chunk))
            complete = max(0, len(rows) - 2 * self.context)  # rows whose context has arrived
            for first in range(0, complete, FRAMES_AT_ONCE):
                last = min(first + FRAMES_AT_ONCE, complete)
                yield self._filter(rows[first : last + 2 * self.context])
            rows = rows[complete:]

    def _with_mirrored_ends(self, chunks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """All rows, and `context` mirrored ones before the first and after the last.

        As `log_mel` pads the wave at its ends: what lies beyond them is speech that runs backwards, with its mel (or
        silence, where the mel's spec pads with zeros).
        """
        rows = tail = None
        for chunk in chunks:
            if tail is None:
                rows = chunk if rows is None else np.concatenate((rows, chunk))
                if len(rows) <= self.context:
                    continue
                yield self._mirrored(rows[: self.context + 1])[: self.context]
                chunk, tail = rows, rows[:0]
            yield chunk
            tail = np.concatenate((tail, chunk[-self.context - 1 :]))[-self.context - 1 :]
        if tail is not None:
            yield self._mirrored(tail)[-self.context :]
        elif rows is not None:
            yield self._mirrored(rows)

    def _mirrored(self, rows: np.ndarray) -> np.ndarray:
        """Rows with `context` mirrored ones on either side; few rows go back and forth."""
        n_mels, hop, context = self.spec.n_mels, self.spec.hop_length, self.context
        if self.spec.pad_mode == "zero":
            silence = np.zeros((context, rows.shape[1]), rows.dtype)
            silence[:, :n_mels] = np.nan  # no mel is given there: no gain
            return np.concatenate((silence, rows, silence))
        wave = np.pad(rows[:, n_mels:].reshape(-1), context * hop, mode="reflect")
        # Where frame 0 is centred on sample 0, it is its own mirror image.
        mode: Literal["reflect", "symmetric"] = "reflect" if self.spec.padding == "centre" else "symmetric"
        before = np.pad(rows[:, :n_mels], ((context, 0), (0, 0)), mode=mode)
        mel = np.pad(before, ((0, context), (0, 0)), mode="symmetric")
        return np.concatenate((mel, wave.reshape(-1, hop)), 1)

    def _filter(self, rows: np.ndarray) -> np.ndarray:
        """The filtered rows of all but `context` on either side."""
        spec, hop, edge, lead = self.spec, self.spec.hop_length, self._edge, self._lead
        frames, n_mels = len(rows) - 2 * lead, spec.n_mels
        mel = (rows[lead : lead + frames, :n_mels] - np.float32(spec.log_offset)) * np.float32(spec.log_unit)
        wave = rows[:, n_mels:].reshape(-1)
        spectrum = self._spectrum(wave, frames)
        heard = self._spectrum(prefiltered(wave, spec), frames) if spec.preemphasis or spec.highpass else spectrum
        gains = limit(np.nan_to_num(mel - self._log_mel(heard)), mel)
        spectrum *= np.exp(self._bin_weights @ gains.T).T
        filtered = self._overlap_add(np.fft.irfft(spectrum, spec.n_fft)[:, : spec.win_length])
        first = edge * hop + self._before
        kept = rows[self.context : len(rows) - self.context, :n_mels]
        block = filtered[first : first + len(kept) * hop].reshape(-1, hop)
        return np.concatenate((kept, block), 1)

    def _spectrum(self, wave: np.ndarray, frames: int) -> np.ndarray:
        """The short-time spectrum [F, n_fft/2 + 1] of the frames after the first `_lead` of a wave."""
        hop, win = self.spec.hop_length, self.spec.win_length
        first = self._lead * hop - self._before
        windows = sliding_window_view(wave[first:], win)[: frames * hop : hop]
        return np.fft.rfft(windows * self._window, self.spec.n_fft)

    def _log_mel(self, spectrum: np.ndarray) -> np.ndarray:
        """The log-mel [F, n_mels] in nepers of a spectrum [F, n_fft/2 + 1], as `log_mel` defines it."""
        spec = self.spec
        squared = spectrum.real**2 + spectrum.imag**2 + np.float32(spec.magnitude_epsilon)
        energies = self._bands @ (squared if spec.power == 2 else np.sqrt(squared)).T
        floor = np.float32(spec.log_floor)
        guarded = energies + floor if spec.log_guard == "add" else np.maximum(energies, floor)
        return np.log(np.minimum(guarded, self._ceiling)).T / np.float32(spec.power)

    def _overlap_add(self, frames: np.ndarray) -> np.ndarray:
        """The wave whose windowed frames are closest to the given [F, win_length]; its ends are too quiet."""
        hop = self.spec.hop_length
        hops = -(-self.spec.win_length // hop)  # that a window reaches over
        padded = np.zeros((len(frames), hops * hop), np.float32)
        np.multiply(frames, self._window, out=padded[:, : self.spec.win_length])
        wave = np.zeros((len(frames) + hops - 1, hop), np.float32)
        for i in range(hops):
            wave[i : i + len(frames)] += padded[:, i * hop : (i + 1) * hop]
        return (wave / self._window_power).reshape(-1)

    @cached_property
    def _window(self) -> np.ndarray:
        """The mel's window [win_length]; where it lies within n_fft samples changes phases only."""
        return hann_window(self.spec).numpy()

    @cached_property
    def _window_power(self) -> np.ndarray:
        """For each sample of a hop the sum [hop_length] of the squares of all windows that cover it."""
        hop = self.spec.hop_length
        return np.pad(self._window**2, (0, -self.spec.win_length % hop)).reshape(-1, hop).sum(0)

    @cached_property
    def _ceiling(self) -> np.float32:
        return np.float32(np.inf if self.spec.log_ceiling is None else self.spec.log_ceiling)

    @cached_property
    def _bands(self) -> csr_array:
        """The mel's filters [n_mels, n_fft/2 + 1], mostly zero."""
        return csr_array(mel_filterbank(self.spec).numpy())

    @cached_property
    def _bin_weights(self) -> csr_array:
        """Weights [n_fft/2 + 1, n_mels] of the mean over the bands that a bin is part of; zero outside all bands."""
        bands = mel_filterbank(self.spec).numpy()
        return csr_array((bands / np.maximum(bands.sum(0), np.float32(1e-12))).T)


def can_filter(spec: MelSpec) -> bool:
    """Whether the mel's windows overlap by half, so that every sample lies well inside one."""
    return 2 * spec.hop_length <= spec.win_length


def in_groups(chunks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The rows of all chunks in chunks of at least `size`, but for the last."""
    waiting: list[np.ndarray] = []
    for chunk in chunks:
        waiting.append(chunk)
        if sum(map(len, waiting)) >= size:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


def limit(gains: np.ndarray, mel: np.ndarray) -> np.ndarray:
    """Gains [F, n_mels] in nepers within their limits, for a log-mel [F, n_mels] in nepers."""
    gains = np.clip(gains, -MAX_CUT, MAX_BOOST)
    limited = gains.copy()
    for shift in range(1, REACH + 1):
        earlier, later = slice(None, -shift), slice(shift, None)
        for here, there in ((earlier, later), (later, earlier)):
            is_louder = mel[there] > mel[here] + MUCH_LOUDER
            np.minimum(limited[here], np.maximum(gains[there], 0), out=limited[here], where=is_louder)
    return limited
