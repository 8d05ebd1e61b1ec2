"""Continuous batching: many utterances share an engine's lanes; a lane that is done takes the next at once."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Full, Queue
from typing import Generic, TypeVar

import numpy as np
import torch

from vocoder.engines import Engine, Frame, Lanes
from vocoder.errors import UserError
from vocoder.features.audio import grid_to_int16

Key = TypeVar("Key")


@dataclass(frozen=True)
class Job(Generic[Key]):
    """An utterance, or a piece of one, to be generated."""

    key: Key
    frames: Callable[[], Iterator[Frame]]  # called when a lane takes it, so that only what is at work takes memory


@dataclass
class Progress:
    """An utterance at work in a lane."""

    key: object
    frames: Iterator[Frame]
    coming: Frame
    samples: list[np.ndarray] = field(default_factory=list)


def generate(
    engine: Engine,
    jobs: Sequence[Job[Key]],
    temperature: float = 1.0,
    progress: Callable[[int], None] = lambda samples: None,
) -> Generator[tuple[Key, np.ndarray | UserError], None, None]:
    """Yield (key, int16 wave) of each job as it is done; a UserError of one is its result, and the others go on.

    What is given (silence) is not part of the wave. `progress` is called with numbers of samples that were drawn.
    Leaving the iterator stops the work.
    """
    threads = max(1, min(engine.threads, len(jobs)))
    capacity = min(engine.width, -(-len(jobs) // threads))
    crews = Crews(jobs, threads)
    torch_threads = torch.get_num_threads()
    workers = [
        threading.Thread(target=crews.work, args=(engine, capacity, temperature), daemon=True) for _ in range(threads)
    ]
    try:
        for worker in workers:
            worker.start()
        yield from crews.results(progress)
    finally:
        crews.stopping.set()
        for worker in workers:
            if worker.ident is not None:
                worker.join()
        torch.set_num_threads(torch_threads)


class Crews(Generic[Key]):
    """Threads, each with lanes of its own, that take jobs from one list and put results into one queue."""

    def __init__(self, jobs: Sequence[Job[Key]], threads: int) -> None:
        self.stopping = threading.Event()
        self._waiting = iter(jobs)
        self._lock = threading.Lock()
        self._threads = threads
        self._queue: Queue[tuple[object, object]] = Queue(2 * threads)  # or a slow disk would fill the memory

    def results(self, progress: Callable[[int], None]) -> Iterator[tuple[Key, np.ndarray | UserError]]:
        left = self._threads
        while left:
            key, result = self._queue.get()
            if key is LEFT:
                left -= 1
                if isinstance(result, BaseException):
                    raise result
            elif key is DRAWN:
                progress(result)  # type: ignore[arg-type]
            else:
                yield key, result  # type: ignore[misc]

    def work(self, engine: Engine, capacity: int, temperature: float) -> None:
        try:
            if engine.compiled:
                torch.set_num_threads(1)  # torch's other threads would wait for work on the cores that are needed here
            self._advance(engine.lanes(capacity, temperature), capacity)
            self._tell((LEFT, None))
        except BaseException as error:
            self._tell((LEFT, error))

    def _advance(self, lanes: Lanes, capacity: int) -> None:
        at_work = [job for _ in range(capacity) if (job := self._next()) is not None]
        while at_work and not self.stopping.is_set():
            frames = [job.coming for job in at_work]
            waves = grid_to_int16(lanes.advance(frames))
            drawn = 0
            for lane in reversed(range(len(at_work))):
                job = at_work[lane]
                if frames[lane].forced is None:
                    job.samples.append(waves[lane])
                    drawn += waves.shape[1]
                if self._goes_on(job):
                    continue
                successor = self._next()
                if successor is not None:
                    at_work[lane] = successor
                    continue
                last = len(at_work) - 1
                if lane != last:
                    lanes.move(last, lane)
                    at_work[lane] = at_work[last]
                at_work.pop()
            self._tell((DRAWN, drawn))

    def _tell(self, news: tuple[object, object]) -> None:
        """Wait until somebody takes it, or nobody will."""
        while not self.stopping.is_set():
            try:
                self._queue.put(news, timeout=0.1)
                return
            except Full:
                continue

    def _next(self) -> Progress | None:
        """The next utterance that has anything to be generated."""
        while True:
            with self._lock:
                job = next(self._waiting, None)
            if job is None:
                return None
            frames = job.frames()
            try:
                return Progress(job.key, frames, next(frames))
            except StopIteration:
                self._tell((job.key, np.zeros(0, np.int16)))
            except UserError as error:
                self._tell((job.key, error))

    def _goes_on(self, job: Progress) -> bool:
        """Whether there is another frame; if not, the result is out."""
        try:
            job.coming = next(job.frames)
            return True
        except StopIteration:
            self._tell((job.key, np.concatenate(job.samples) if job.samples else np.zeros(0, np.int16)))
        except UserError as error:
            self._tell((job.key, error))
        return False


DRAWN, LEFT = object(), object()  # what else comes through the queue: samples drawn; a thread that is done
