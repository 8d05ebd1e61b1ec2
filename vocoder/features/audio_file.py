"""An audio file opened for reading, block by block, so that hours of it need little memory."""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import soundfile

from vocoder.errors import UserError
from vocoder.features.containers import SampleData, SplicedFile, find_sample_data

# What libsndfile decodes. Everything else that is known to hold audio is named, so that nobody misses it unawares.
AUDIO_SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".aifc", ".caf", ".w64", ".rf64"),
    *(".wave", ".oga", ".au", ".snd", ".sph"),
)
OTHER_AUDIO_SUFFIXES = (
    *(".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".amr", ".3gp", ".ape", ".wv", ".alac", ".ac3", ".spx", ".tta"),
    *(".mpc", ".dsf", ".dff", ".shn", ".gsm", ".g722", ".ra", ".mov", ".mkv", ".m4b", ".awb", ".weba"),
)
BLOCK_VALUES = 2**19  # decoded at a time, over all channels: 2 MB
LOWEST_RATE, HIGHEST_RATE = 1000, 1_536_000  # Hz; what lies beyond is a damaged header, or not speech


class _Sequential(soundfile.SoundFile):
    """soundfile seeks after every read, which fails at the end of a FLAC whose length is unknown; this one does not."""

    def seekable(self) -> bool:
        return False


class AudioFile:
    """An audio file as one channel, the mean of all.

    Raises:
        UserError: the file cannot be opened or decoded, or is truncated.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._source: SplicedFile | None = None
        try:
            data = find_sample_data(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be opened ({error.strerror})") from None
        except struct.error as error:  # a header that ends too soon
            raise self._unreadable(error) from None
        self._refuse_truncated(data)
        if data is not None and data.header:
            self._source = SplicedFile(path, data)
        try:
            self._file = _Sequential(path if self._source is None else self._source)
        except (soundfile.LibsndfileError, OSError, ValueError, TypeError) as error:
            self._close_source()
            raise self._unreadable(error) from None
        self.channels = int(self._file.channels)
        self.format, self.width = str(self._file.format), str(self._file.subtype)  # libsndfile's names: WAV, PCM_16
        self.sample_rate = int(self._file.samplerate)  # Hz
        if not LOWEST_RATE <= self.sample_rate <= HIGHEST_RATE:
            self.close()
            raise UserError(
                f"{path}: its header states {self.sample_rate} Hz; rates from {LOWEST_RATE} to {HIGHEST_RATE} are read"
            )

    def span(self, begin: float, end: float | None) -> tuple[int, int | None]:
        """Samples between two times in seconds; None is the end of the file."""
        return round(begin * self.sample_rate), None if end is None else round(end * self.sample_rate)

    def blocks(self, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        """Samples `start` to `stop` (None: to the end), as float32 arrays [n] one after another.

        Raises:
            UserError: the file cannot be decoded, or contains NaN or infinite samples.
        """
        at = self._go_to(start)
        size = max(1, BLOCK_VALUES // self.channels)
        while stop is None or at < stop:
            block = self._read(size if at >= start else min(size, start - at))
            if not len(block):
                return
            skipped, at = at < start, at + len(block)
            if not skipped:
                yield block if stop is None else block[: len(block) - max(0, at - stop)]

    def read(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Samples `start` to `stop` as one float32 array [n].

        Raises:
            UserError: as `blocks`; or there are no samples.
        """
        blocks = list(self.blocks(start, stop))
        if not blocks:
            raise UserError(f"{self.path}: contains no samples")
        return np.concatenate(blocks)

    def close(self) -> None:
        self._file.close()
        self._close_source()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_truncated(self, data: SampleData | None) -> None:
        if data is not None and data.promised is not None and data.promised > data.available:
            promised = f"its header promises {data.promised} bytes of samples"
            raise UserError(f"{self.path}: truncated ({promised}, {max(0, data.available)} are there)")

    def _go_to(self, start: int) -> int:
        """Seek to a sample and return it; where the format cannot, return the current one, 0."""
        if start == 0:
            return 0
        try:
            return int(self._file.seek(start))
        except soundfile.LibsndfileError:  # a FLAC of unknown length, for one
            return 0

    def _read(self, size: int) -> np.ndarray:
        try:
            channels = self._file.read(size, dtype="float32", always_2d=True)
        except (soundfile.LibsndfileError, OSError, ValueError, RuntimeError) as error:
            raise self._unreadable(error) from None
        mono: np.ndarray = channels.mean(axis=1)
        if not np.isfinite(channels).all():
            raise UserError(f"{self.path}: contains NaN or infinite samples")
        return mono

    def _unreadable(self, error: Exception) -> UserError:
        if self.path.suffix.lower() in OTHER_AUDIO_SUFFIXES:
            return UserError(f"{self.path}: {self.path.suffix} is not read; convert it to wav or flac")
        return UserError(f"{self.path}: not readable as audio ({' '.join(str(error).split())})")

    def _close_source(self) -> None:
        if self._source is not None:
            self._source.close()
