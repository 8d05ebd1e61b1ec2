"""Where the samples of a file begin, and how many bytes of them its header promises.

libsndfile reads a file that was cut short without an error, and some files of programs that stream not at all: such a
program writes the header before it knows the sizes, and leaves zeros or the largest number that fits. What counts is
the size of the samples; that of the whole file is often wrong, and decides nothing.
"""

import io
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class SampleData:
    """The samples in a file."""

    start: int  # offset of their first byte
    available: int  # bytes from there to the end of the file
    promised: int | None  # bytes, by the header; None where the writer streamed and left no size
    header: bytes = b""  # with the size that is missing, to be read in place of the file's own


@dataclass(frozen=True)
class Chunk:
    """A part of a file, as its own header describes it."""

    id: bytes
    start: int  # offset of its content
    size: int  # bytes of content, as stated


def find_sample_data(path: Path) -> SampleData | None:
    """The samples of an uncompressed file (WAV, RF64, Wave64, AIFF, CAF, AU, NIST); None for other formats.

    Raises:
        OSError: the file cannot be opened.
    """
    with path.open("rb") as file:
        magic = file.read(12)
        find = FORMATS.get(magic[:4])
        return find(file, os.fstat(file.fileno()).st_size) if find and len(magic) == 12 else None


class SplicedFile(io.RawIOBase):
    """A file whose first bytes, up to the samples, are replaced."""

    def __init__(self, path: Path, data: SampleData) -> None:
        self._file, self._data, self._at = path.open("rb"), data, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data.header) + self._data.available}
        self._at = base[whence] + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        header = self._data.header
        if self._at < len(header):
            piece = header[self._at : self._at + len(buffer)]
        else:
            self._file.seek(self._data.start + self._at - len(header))
            piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def close(self) -> None:
        self._file.close()
        super().close()


# Sizes that streaming writers leave


Chunks = Callable[[BinaryIO, int, int], Iterator["Chunk"]]  # those of a file from one offset to another


def _is_placeholder(size: int, bits: int) -> bool:
    """Whether it is a number that streaming writers leave.

    They leave zero, all ones, the sign bit, or the largest positive number; minus the size of the header, or rounded
    down to a multiple of the block or of 2^24 (sox, arecord, MPlayer, ffmpeg).
    """
    margin = 2**24
    return size <= 0 or any(limit - margin <= size < limit + margin for limit in (2 ** (bits - 1), 2**bits))


def _is_unknown(file: BinaryIO, start: int, size: int, end: int, bits: int, chunks: Chunks) -> bool:
    """Whether the size of the samples at `start` was left by a streaming writer, or has overflown its bits."""
    available = end - start
    if size > available:
        return _is_placeholder(size, bits)
    overflown = available >= 2**bits and (available - size) % 2**bits < 2**16
    return (_is_placeholder(size, bits) or overflown) and not _holds_chunks(file, start + max(size, 0), end, chunks)


def _holds_chunks(file: BinaryIO, start: int, end: int, chunks: Chunks) -> bool:
    """Whether there are only whole chunks between `start` and the end of the file, or nothing, and no samples."""
    at = start
    for chunk in chunks(file, start, end):
        at = chunk.start + chunk.size
        if at > end or not all(32 <= byte < 127 for byte in chunk.id[:4]):
            return False
    return end - at <= 8  # padding


# Formats made of chunks


def _chunks(
    file: BinaryIO, at: int, end: int, header: str, alignment: int, size_includes_header: bool = False
) -> Iterator[Chunk]:
    """The chunks of a file from offset `at` on. `header` is the struct of an id and a size."""
    length = struct.calcsize(header)
    while at + length <= end:
        file.seek(at)
        id, size = struct.unpack(header, file.read(length))
        size -= length if size_includes_header else 0
        yield Chunk(id, at + length, size)
        if size < 0:
            return
        at += length + size + -size % alignment


def _little_chunks(file: BinaryIO, at: int, end: int) -> Iterator[Chunk]:
    return _chunks(file, at, end, "<4sI", 2)


def _big_chunks(file: BinaryIO, at: int, end: int) -> Iterator[Chunk]:
    return _chunks(file, at, end, ">4sI", 2)


def _wave64_chunks(file: BinaryIO, at: int, end: int) -> Iterator[Chunk]:
    return _chunks(file, at, end, "<16sq", 8, size_includes_header=True)


def _caf_chunks(file: BinaryIO, at: int, end: int) -> Iterator[Chunk]:
    return _chunks(file, at, end, ">4sq", 1)


def _head(file: BinaryIO, length: int) -> bytearray:
    file.seek(0)
    return bytearray(file.read(length))


def _riff(file: BinaryIO, end: int) -> SampleData | None:
    """WAV; an unknown size may be too large for its 32 bits."""
    for chunk in _little_chunks(file, 12, end):
        if chunk.id == b"data":
            available = end - chunk.start
            if not _is_unknown(file, chunk.start, chunk.size, end, 32, _little_chunks):
                return SampleData(chunk.start, available, chunk.size)
            return SampleData(chunk.start, available, None, _as_rf64(_head(file, chunk.start), available))
    return None


def _as_rf64(head: bytearray, available: int) -> bytes:
    """The head of a WAV file as that of an RF64 file (EBU Tech 3306), which has sizes of 64 bits."""
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, len(head) + 28 + available, available, 0, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + sizes + bytes(head[12:-4]) + b"\xff\xff\xff\xff"


def _rifx(file: BinaryIO, end: int) -> SampleData | None:
    """WAV with the most significant byte first."""
    return _patched(file, end, 12, _big_chunks, b"data", ">I")


def _aiff(file: BinaryIO, end: int) -> SampleData | None:
    """AIFF and AIFF-C, whose samples follow an offset and a block size."""
    return _patched(file, end, 12, _big_chunks, b"SSND", ">I", prefix=8)


def _caf(file: BinaryIO, end: int) -> SampleData | None:
    """Core Audio Format, whose samples follow a count of edits; -1 is a size that it provides for."""
    return _patched(file, end, 8, _caf_chunks, b"data", ">q", prefix=4)


def _wave64(file: BinaryIO, end: int) -> SampleData | None:
    return _patched(file, end, 40, _wave64_chunks, b"data", "<q", includes=24)


def _patched(
    file: BinaryIO,
    end: int,
    first: int,
    chunks: Chunks,
    id: bytes,
    size_format: str,
    prefix: int = 0,
    includes: int = 0,
) -> SampleData | None:
    """The samples in the chunk called `id`; a size that is missing is filled in.

    Args:
        first: offset of the first chunk.
        prefix: bytes of the chunk before its samples.
        includes: bytes of its own header that a chunk's size counts.
    """
    for chunk in chunks(file, first, end):
        if chunk.id[:4] != id:
            continue
        start, size = chunk.start + prefix, chunk.size - prefix
        available, bits = end - start, 8 * struct.calcsize(size_format)
        if not _is_unknown(file, start, size, end, bits, chunks):
            return SampleData(start, available, size)
        head, width = _head(file, start), struct.calcsize(size_format)
        stated = min(available + prefix + includes, 2**bits - 1)
        head[chunk.start - width : chunk.start] = struct.pack(size_format, stated)
        return SampleData(start, available, None, bytes(head))
    return None


# Formats with one header


def _rf64(file: BinaryIO, end: int) -> SampleData | None:
    """WAV whose sizes are in a chunk ds64 (EBU Tech 3306)."""
    size, at = 0, 0
    for chunk in _little_chunks(file, 12, end):
        if chunk.id == b"ds64":
            file.seek(chunk.start)
            at = chunk.start + 8
            size = struct.unpack("<QQ", file.read(16))[1] if chunk.size >= 16 else 0
        if chunk.id == b"data":
            size = size if chunk.size >= 0xFFFFFFFF else chunk.size
            available = end - chunk.start
            if not at or not _is_unknown(file, chunk.start, size, end, 64, _little_chunks):
                return SampleData(chunk.start, available, size)
            head = _head(file, chunk.start)
            head[at : at + 16] = struct.pack("<QQ", available, 0)
            head[-4:] = b"\xff\xff\xff\xff"
            return SampleData(chunk.start, available, None, bytes(head))
    return None


def _au(file: BinaryIO, end: int) -> SampleData | None:
    """Sun's and NeXT's format; all ones is a size that it provides for."""
    head = _head(file, 12)
    start, size = struct.unpack(">II", head[4:])
    available = end - start
    if available <= 0 or not _is_placeholder(size, 32):
        return SampleData(start, available, size)
    head = _head(file, start)
    head[8:12] = struct.pack(">I", min(available, 2**32 - 1))
    return SampleData(start, available, None, bytes(head))


def _nist(file: BinaryIO, end: int) -> SampleData | None:
    """NIST SPHERE, whose header is text: lines of a name, a type and a value."""
    lines = _head(file, 16).split(b"\n")
    start = int(lines[1]) if len(lines) > 1 and lines[1].strip().isdigit() else 1024
    words = [line.split() for line in bytes(_head(file, start)).split(b"\n")]
    fields = {line[0]: line[2] for line in words if len(line) == 3}
    try:
        count, channels, width = (
            int(fields.get(name, default))
            for name, default in ((b"sample_count", b"?"), (b"channel_count", b"1"), (b"sample_n_bytes", b"?"))
        )
    except ValueError:  # no count of samples, or none of their bytes: then nothing is promised
        return None
    plain = fields.get(b"sample_coding", b"pcm") in (b"pcm", b"ulaw", b"alaw", b"mu-law")
    return SampleData(start, end - start, count * channels * width) if plain else None


FORMATS: dict[bytes, Callable[[BinaryIO, int], SampleData | None]] = {
    b"RIFF": _riff,
    b"RIFX": _rifx,
    b"RF64": _rf64,
    b"riff": _wave64,
    b"FORM": _aiff,
    b"caff": _caf,
    b".snd": _au,
    b"NIST": _nist,
}
