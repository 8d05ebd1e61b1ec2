"""The reference step as a CUDA graph: some three hundred small GPU kernels in one launch."""

from collections.abc import Callable, Sequence
from dataclasses import fields

import torch

from vocoder.engines.base import Frame
from vocoder.engines.reference import FrameBuffers, ReferenceEngine, ReferenceLanes


class CudaEngine(ReferenceEngine):
    """The reference engine, its step captured once and replayed; without CUDA the reference engine itself."""

    lanes_per_thread = 256

    def lanes(self, capacity: int, temperature: float = 1.0) -> "CudaLanes":
        return CudaLanes(self.model, capacity, temperature)

    def describe(self) -> str:
        return f"cuda graphs, {self.model.device}" if self.model.device.type == "cuda" else super().describe()


class CudaLanes(ReferenceLanes):
    """Each frame is copied into the buffers that the graph was captured with."""

    _buffers: FrameBuffers | None = None
    _replay: Callable[[], None]

    def _generate(self, frames: Sequence[Frame]) -> FrameBuffers:
        buffers = self.buffers(frames)
        if self._buffers is None:
            self._buffers = buffers
            self._replay = graphed(lambda: self.step(buffers), self._written(buffers))
        else:
            copy(self._buffers, buffers)
        for _ in range(buffers.channels.shape[1]):
            self._replay()
        return self._buffers

    def _written(self, buffers: FrameBuffers) -> list[torch.Tensor]:
        """The tensors that a step writes to."""
        state = self.state
        return [
            *(*state.rings, state.past, state.excitation, state.inputs, state.time),
            *(buffers.samples, buffers.params, buffers.position),
        ]


def copy(target: FrameBuffers, source: FrameBuffers) -> None:
    for field in fields(FrameBuffers):
        old, new = getattr(target, field.name), getattr(source, field.name)
        if old is not None:
            old.copy_(new)


def graphed(step: Callable[[], None], written: Sequence[torch.Tensor]) -> Callable[[], None]:
    """The step as the replay of a CUDA graph, or the step itself where its tensors are not on a GPU.

    `written` are the tensors that the step writes to; their values are restored after warming up.
    """
    if written[0].device.type != "cuda":
        return step
    before = [tensor.clone() for tensor in written]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries initialise outside of the graph
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    for tensor, value in zip(written, before, strict=True):
        tensor.copy_(value)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
