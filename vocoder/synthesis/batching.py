"""Continuous batching: many utterances share an engine's lanes, and a lane that finishes one starts the next at once.

Each worker thread has lanes of its own. All workers take tasks from one list and put messages into one queue.
"""

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
class Task(Generic[Key]):
    """A sequence to generate: an utterance or a piece of one."""

    key: Key
    frames: Callable[[], Iterator[Frame]]  # called when a lane starts the task, so that waiting tasks take no memory
    finish: Callable[[np.ndarray], np.ndarray] = lambda wave: (
        wave
    )  # called with the whole int16 wave, e.g. a post-filter


@dataclass
class RunningTask(Generic[Key]):
    """The task that a lane is generating."""

    task: Task[Key]
    frames: Iterator[Frame]
    next_frame: Frame
    samples: list[np.ndarray] = field(default_factory=list)  # int16 [H] of each frame drawn so far


@dataclass(frozen=True)
class TaskFinished(Generic[Key]):
    """Message: a task's int16 wave, or the error that ended it."""

    key: Key
    result: np.ndarray | UserError


@dataclass(frozen=True)
class SamplesDrawn:
    """Message: a worker drew this many samples, over all of its lanes."""

    count: int


@dataclass(frozen=True)
class WorkerStopped:
    """Message: a worker thread ended, by the error if there is one."""

    error: BaseException | None = None


def generate(
    engine: Engine,
    tasks: Sequence[Task[Key]],
    temperature: float = 1.0,
    progress: Callable[[int], None] = lambda samples: None,
) -> Generator[tuple[Key, np.ndarray | UserError], None, None]:
    """Yield (key, int16 wave [T]) of each task as it finishes, or (key, UserError) if its frames raise one.

    Forced samples (the silence before an utterance) are not part of the wave. `progress` is called with the number of
    samples drawn since its last call. Closing the iterator stops the workers. An error other than a UserError is raised
    here.
    """
    threads = max(1, min(engine.threads, len(tasks)))
    capacity = min(engine.lanes_per_thread, -(-len(tasks) // threads))
    pool = WorkerPool(tasks, threads)
    torch_threads = torch.get_num_threads()
    workers = [
        threading.Thread(target=pool.run_worker, args=(engine, capacity, temperature), daemon=True)
        for _ in range(threads)
    ]
    try:
        for worker in workers:
            worker.start()
        yield from pool.results(progress)
    finally:
        pool.stopping.set()
        for worker in workers:
            if worker.ident is not None:
                worker.join()
        torch.set_num_threads(torch_threads)


class WorkerPool(Generic[Key]):
    """State that the worker threads share: the waiting tasks, and the queue of messages to the consumer."""

    def __init__(self, tasks: Sequence[Task[Key]], threads: int) -> None:
        self.stopping = threading.Event()
        self._waiting = iter(tasks)
        self._lock = threading.Lock()
        self._threads = threads
        # Bounded: with a slow consumer (a slow disk) finished waves would fill the memory.
        self._messages: Queue[TaskFinished[Key] | SamplesDrawn | WorkerStopped] = Queue(2 * threads)

    def results(self, progress: Callable[[int], None]) -> Iterator[tuple[Key, np.ndarray | UserError]]:
        """Yield (key, result) of finished tasks until all workers have stopped."""
        running = self._threads
        while running:
            message = self._messages.get()
            if isinstance(message, TaskFinished):
                yield message.key, message.result
            elif isinstance(message, SamplesDrawn):
                progress(message.count)
            else:
                running -= 1
                if message.error is not None:
                    raise message.error

    def run_worker(self, engine: Engine, capacity: int, temperature: float) -> None:
        """Generate tasks in `capacity` lanes until none is waiting."""
        try:
            if engine.bypasses_torch_threads:
                torch.set_num_threads(1)  # torch's own threads would spin on the cores that the workers need
            self._generate(engine.lanes(capacity, temperature), capacity)
            self._put(WorkerStopped())
        except BaseException as error:
            self._put(WorkerStopped(error))

    def _generate(self, lanes: Lanes, capacity: int) -> None:
        running = [task for _ in range(capacity) if (task := self._start_next()) is not None]
        while running and not self.stopping.is_set():
            drawn = _advance(lanes, running)
            for lane in reversed(range(len(running))):
                if not self._load_next_frame(running[lane]):
                    self._refill(lanes, running, lane)
            self._put(SamplesDrawn(drawn))

    def _refill(self, lanes: Lanes, running: list[RunningTask[Key]], lane: int) -> None:
        """Start the next task in a finished lane. If none is waiting, move the last running lane there."""
        successor = self._start_next()
        if successor is not None:
            running[lane] = successor
            return
        last = running.pop()
        if lane != len(running):
            lanes.move(len(running), lane)
            running[lane] = last

    def _start_next(self) -> RunningTask[Key] | None:
        """The next waiting task that has a frame; those without one finish here."""
        while True:
            with self._lock:
                task = next(self._waiting, None)
            if task is None:
                return None
            frames = task.frames()
            try:
                return RunningTask(task=task, frames=frames, next_frame=next(frames))
            except StopIteration:
                self._put(TaskFinished(task.key, np.zeros(0, np.int16)))
            except UserError as error:
                self._put(TaskFinished(task.key, error))

    def _load_next_frame(self, running: RunningTask[Key]) -> bool:
        """Returns whether there is another frame; if not, the task's result has been sent."""
        try:
            running.next_frame = next(running.frames)
            return True
        except StopIteration:
            wave = np.concatenate(running.samples) if running.samples else np.zeros(0, np.int16)
            self._put(TaskFinished(running.task.key, running.task.finish(wave)))
        except UserError as error:
            self._put(TaskFinished(running.task.key, error))
        return False

    def _put(self, message: TaskFinished[Key] | SamplesDrawn | WorkerStopped) -> None:
        """Wait for room in the queue, or until the consumer has stopped."""
        while not self.stopping.is_set():
            try:
                self._messages.put(message, timeout=0.1)
                return
            except Full:
                continue


def _advance(lanes: Lanes, running: Sequence[RunningTask[Key]]) -> int:
    """Generate the next frame of every running task; returns the number of samples drawn."""
    waves = grid_to_int16(lanes.advance([task.next_frame for task in running]))  # [n, H]
    drawn = 0
    for task, wave in zip(running, waves, strict=True):
        if task.next_frame.forced is None:
            task.samples.append(wave)
            drawn += len(wave)
    return drawn
