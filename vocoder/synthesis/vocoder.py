"""The library's interface: mel in, waveform out.

model = load("runs/my_voice")
mel = model.mel(waveform, sample_rate)
waveform = model.synthesize(mel, seed=0)
"""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar, cast
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor

from vocoder.device import pick_device
from vocoder.engines import Engine, Frame, Noise, pick_engine
from vocoder.errors import UserError
from vocoder.features.arrays import as_waveform
from vocoder.features.audio import grid_to_int16, int16_to_waveform, resample
from vocoder.features.mel import MelSpec, log_mel
from vocoder.features.mel_input import OWN, MelFormat, MelReader
from vocoder.model import VocoderModel, find_checkpoint, load_model
from vocoder.synthesis.batching import Task, generate
from vocoder.synthesis.folding import frames_of_piece, join_pieces, pieces_of
from vocoder.synthesis.frames import frames_of
from vocoder.synthesis.postfilter import PASSES, PostFilter, can_filter

Key = TypeVar("Key")
BUNDLED_VOICE = Path(__file__).parent.parent / "voice"  # a model directory, with its model card


@dataclass(frozen=True)
class Request:
    """One utterance to synthesise. Its noise is a function of the seed and its `id`."""

    id: str
    mel: np.ndarray | Tensor  # [n_mels, F] or [F, n_mels], also with a leading axis of size 1
    speaker: str | None = None
    mels: MelFormat | None = None  # what the mel was made with; None is what the vocoder was told


class Vocoder:
    """A trained model, ready to turn mels into waveforms.

    Args:
        engine: that generates; None picks the fastest one.
        postfilter: passes of the filter that brings the wave's mel closer to the given one; with 0 a wave is the draw
            from the model itself. None takes the default, or 0 where the mel's windows hardly overlap and where the
            model does not hear the mel.
        mels: what given mels were made with, where it is not the model's own.

    Raises:
        UserError: the post-filter does not fit the model's mel; or mels of that format cannot be converted exactly, and
            an approximation was not asked for.
    """

    def __init__(
        self,
        model: VocoderModel,
        engine: Engine | None = None,
        postfilter: int | None = None,
        mels: MelFormat | None = None,
    ) -> None:
        self.model = model
        self.mels = mels or MelFormat()
        self._readers: dict[MelFormat, MelReader] = {}
        self._reader(self.mels)  # refuses now what cannot be converted
        self._made: WeakValueDictionary[int, np.ndarray] = WeakValueDictionary()  # by `mel`: their layout is known
        self.engine = engine or pick_engine(model)
        if postfilter is None:
            postfilter = PASSES if can_filter(model.spec) and model.conditioning.channels else 0
        self.postfilter = PostFilter(model.spec, postfilter)

    @property
    def spec(self) -> MelSpec:
        """The parameters of the mels that the model was trained on."""
        return self.model.spec

    @property
    def sample_rate(self) -> int:
        return self.spec.sample_rate

    def mel(self, waveform: np.ndarray | Tensor, sample_rate: int) -> np.ndarray:
        """The log-mel [n_mels, F], as the model expects it, of a mono waveform [T] in [-1, 1] or of int16 samples.

        Raises:
            UserError: the waveform is not mono, is too short, has NaN or infinite values, or values far above 1; or its
                rate is below 1.
        """
        if sample_rate < 1:
            raise UserError(f"sample_rate={sample_rate}: must be at least 1")
        resampled = resample(as_waveform(waveform), sample_rate, self.sample_rate)
        mel = log_mel(torch.from_numpy(resampled), self.spec).numpy()
        self._made[id(mel)] = mel
        return mel

    def synthesize(
        self,
        mel: np.ndarray | Tensor,
        seed: int = 0,
        *,
        temperature: float = 1.0,
        speaker: str | None = None,
        id: str = "",
        fold: bool = False,
        mels: MelFormat | None = None,
    ) -> np.ndarray:
        """A float32 waveform [F * hop_length] in [-1, 1] from a log-mel [n_mels, F] or [F, n_mels].

        `mels` says what the mel was made with, where that is not the model's own kind or what the vocoder was told.

        The same mel, seed and id give the same waveform. With `fold`, one long utterance is generated in pieces at the
        same time, several times as fast; the result is another draw from the model, joined at quiet frames.

        Raises:
            UserError: the mel cannot be of this spec, the speaker is unknown, or the temperature is not above 0.
        """
        request = Request(id, mel, speaker, mels)
        if fold:
            return int16_to_waveform(self.synthesize_folded(request, seed, temperature=temperature))
        return self.synthesize_batch([request], seed, temperature=temperature)[0]

    def synthesize_batch(
        self,
        requests: Iterable[Request],
        seed: int = 0,
        *,
        temperature: float = 1.0,
        progress: Callable[[int], None] = lambda samples: None,
    ) -> list[np.ndarray]:
        """Float32 waveforms [F * hop_length] of several utterances, generated at the same time.

        `progress` is called with the number of samples generated since its last call.

        Raises:
            UserError: as `synthesize`, for the first request that fails. `synthesize_each` still yields the others.
        """
        requests = list(requests)
        waves = dict(self.synthesize_each(requests, seed, temperature=temperature, progress=progress))
        for index, wave in sorted(waves.items()):
            if isinstance(wave, UserError):
                raise UserError(f"{requests[index].id or f'request {index}'}: {wave}") if len(requests) > 1 else wave
        return [int16_to_waveform(cast(np.ndarray, waves[i])) for i in range(len(requests))]

    def synthesize_each(
        self,
        requests: Sequence[Request],
        seed: int = 0,
        *,
        temperature: float = 1.0,
        progress: Callable[[int], None] = lambda samples: None,
    ) -> Iterator[tuple[int, np.ndarray | UserError]]:
        """Yield (index of the request, int16 wave) as each finishes, or (index, UserError) for one that fails.

        Raises:
            UserError: the temperature is not above 0.
        """
        check_temperature(temperature)
        longest_first = sorted(
            range(len(requests)), key=lambda i: -max(np.shape(requests[i].mel), default=0)
        )  # or close to it
        tasks = [self.task(i, partial(requests.__getitem__, i), seed) for i in longest_first]
        return generate(self.engine, tasks, temperature, progress)

    def synthesize_folded(
        self,
        request: Request,
        seed: int = 0,
        *,
        temperature: float = 1.0,
        progress: Callable[[int], None] = lambda samples: None,
    ) -> np.ndarray:
        """An int16 wave [F * hop_length] of one utterance, generated in pieces at the same time and joined.

        `progress` is called as by `synthesize_batch`; warm-ups of pieces count. Raises UserError as `synthesize`.
        """
        check_temperature(temperature)
        mel, speaker = self._mel_of(request), self.model.speaker_index(request.speaker)
        noise = Noise(seed, [request.id], self.model.distribution.uniforms)
        pieces = pieces_of(mel, self.model)
        tasks = [Task(i, partial(frames_of_piece, self.model, mel, noise, speaker, p)) for i, p in enumerate(pieces)]
        waves = dict(generate(self.engine, tasks, temperature, progress))
        joined = join_pieces([cast(np.ndarray, waves[i]) for i in range(len(pieces))], pieces, self.spec.hop_length)
        return self.postfilter(mel, self.model.pre_emphasis.undo(joined))

    def task(self, key: Key, read: Callable[[], Request], seed: int) -> Task[Key]:
        """Generates and filters the utterance that `read` returns when a lane is free; errors as of `synthesize`."""
        mels: list[np.ndarray] = []  # that of the utterance while it is generated: tasks outlive it

        def frames() -> Iterator[Frame]:
            request = read()
            mels.append(self._mel_of(request))
            yield from self._frames(mels, seed, request.speaker, request.id)

        return Task(key, frames, lambda wave: self.postfilter(mels.pop(), self.model.pre_emphasis.undo(wave)))

    def frames_to_draw(self, request: Request, *, folded: bool = False) -> int:
        """Number of frames that `synthesize` will generate, with warm-ups of pieces. Raises UserError as it does."""
        mel = self._mel_of(request)
        return sum(piece.stop - piece.first for piece in pieces_of(mel, self.model)) if folded else mel.shape[1]

    def stream(
        self,
        mel: Iterable[np.ndarray | Tensor],
        seed: int = 0,
        *,
        temperature: float = 1.0,
        speaker: str | None = None,
        id: str = "",
        mels: MelFormat | None = None,
    ) -> Iterator[np.ndarray]:
        """Yield float32 audio [hop_length] for each frame of a log-mel that arrives in chunks, as `synthesize` takes.

        A frame's audio is yielded once `model.context_frames + postfilter.delay` more frames have arrived, or the mel
        has ended. The concatenated audio equals that of `synthesize` for the whole mel, to the bit.

        Raises:
            UserError: as `synthesize`, when a bad chunk arrives.
        """
        check_temperature(temperature)
        chunks = self._reader(mels).chunks(mel)
        for wave in self.postfilter.stream(self._draw_stream(chunks, seed, temperature, speaker, id)):
            yield int16_to_waveform(wave)

    def _draw_stream(
        self, mel: Iterable[np.ndarray], seed: int, temperature: float, speaker: str | None, id: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (mel [n_mels, 1], int16 wave [hop_length]) of each frame as the model draws it."""
        undo_emphasis = self.model.pre_emphasis.undoer()
        lanes = self.engine.lanes(1, temperature)
        waiting: deque[np.ndarray] = deque()  # mel frames whose wave is still to be drawn

        def checked() -> Iterator[np.ndarray]:
            for chunk in mel:
                waiting.extend(chunk.T)
                yield chunk

        for frame in self._frames(checked(), seed, speaker, id):
            wave = lanes.advance([frame])[0]
            if frame.forced is None:
                yield waiting.popleft()[:, None], undo_emphasis(grid_to_int16(wave))

    def _frames(self, mel: Iterable[np.ndarray], seed: int, speaker: str | None, id: str) -> Iterator[Frame]:
        noise = Noise(seed, [id], self.model.distribution.uniforms)
        return frames_of(self.model, mel, noise, self.model.speaker_index(speaker))

    def _mel_of(self, request: Request) -> np.ndarray:
        """The request's mel as the model takes it."""
        own = OWN if request.mels is None and self._made.get(id(request.mel)) is request.mel else None
        return self._reader(own or request.mels)(request.mel)

    def _reader(self, mels: MelFormat | None) -> MelReader:
        mels = mels or self.mels
        if mels not in self._readers:
            self._readers[mels] = reader = MelReader(self.spec, self.model.mel_statistics, mels)
            if reader.warning:
                warnings.warn(reader.warning, stacklevel=3)
        return self._readers[mels]


def check_temperature(temperature: float) -> None:
    """Raises UserError unless the temperature is above 0 and finite."""
    if not 0 < temperature < float("inf"):
        raise UserError(f"temperature={temperature}: must be above 0")


def load(
    path: str | Path | None = None,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "float32",
    threads: int | None = None,
    postfilter: int | None = None,
    mels: MelFormat | None = None,
) -> Vocoder:
    """Load a vocoder.

    Args:
        path: a training run (its best checkpoint is taken), or a checkpoint; None is the voice in the package.
        engine: reference, cpu or cuda; auto is cpu on a CPU and cuda on a GPU.
        precision: of the cpu engine's matrix products, float32 or bfloat16; auto is the faster one on this processor.
        threads: of the cpu engine; None uses all cores.
        postfilter: passes of the post-filter, as of `Vocoder`.
        mels: what given mels were made with, as of `Vocoder`.

    Raises:
        UserError: there is no complete, undamaged model at `path`, or the engine cannot run it.
    """
    model = load_model(find_checkpoint(BUNDLED_VOICE if path is None else Path(path)), pick_device(device))
    return Vocoder(model, pick_engine(model, engine, precision, threads), postfilter, mels)
