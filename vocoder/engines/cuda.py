"""The reference step under a CUDA graph: some three hundred small kernels, launched as one."""

from collections.abc import Callable, Sequence
from dataclasses import fields

import torch

from vocoder.engines.base import Frame
from vocoder.engines.reference import Known, ReferenceEngine, ReferenceLanes


class CudaEngine(ReferenceEngine):
    """The reference engine, its step captured once and replayed; without CUDA the reference engine itself."""

    width = 256

    def lanes(self, capacity: int, temperature: float = 1.0) -> "CudaLanes":
        return CudaLanes(self.model, capacity, temperature)

    def describe(self) -> str:
        return f"cuda graphs, {self.model.device}" if self.model.device.type == "cuda" else super().describe()


class CudaLanes(ReferenceLanes):
    """What is known of a frame is copied to where the graph expects it."""

    _known: Known | None = None
    _replay: Callable[[], None]

    def _generate(self, frames: Sequence[Frame]) -> Known:
        known = self.known(frames)
        if self._known is None:
            self._known = known
            self._replay = graphed(lambda: self.step(known), self._kept())
        else:
            copy(known, self._known)
        for _ in range(known.samples.shape[1]):
            self._replay()
        return self._known

    def _kept(self) -> list[torch.Tensor]:
        """What a step changes."""
        assert self._known is not None
        state, known = self.state, self._known
        return [*state.rings, state.past, state.residual, state.time, known.samples, known.params, known.sample]


def copy(source: Known, target: Known) -> None:
    for field in fields(Known):
        ours, theirs = getattr(target, field.name), getattr(source, field.name)
        if ours is not None:
            ours.copy_(theirs)


def graphed(step: Callable[[], None], changed: Sequence[torch.Tensor]) -> Callable[[], None]:
    """The step as a CUDA graph to be replayed, or itself where its tensors are not on a GPU.

    `changed` is what the step writes to: warming up and capturing leave it as it was.
    """
    if changed[0].device.type != "cuda":
        return step
    before = [tensor.clone() for tensor in changed]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # libraries set themselves up outside of the graph
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    for tensor, value in zip(changed, before, strict=True):
        tensor.copy_(value)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
