"""Which engine, by name or by what is there."""

from vocoder.engines.base import Engine
from vocoder.engines.cuda import CudaEngine
from vocoder.engines.reference import ReferenceEngine
from vocoder.errors import UserError
from vocoder.model import VocoderModel

ENGINES = ("auto", "reference", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16")


def pick_engine(
    model: VocoderModel, name: str = "auto", precision: str = "float32", threads: int | None = None
) -> Engine:
    """The engine called `name` for a model where it is; "auto" is the fastest there.

    Raises:
        UserError: there is no such engine, or it cannot run this model here.
    """
    if name not in ENGINES:
        raise UserError(f"engine={name}: unknown; there are {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision}: unknown; there are {', '.join(PRECISIONS)}")
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads}: must be at least 1")
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise UserError("this model has NaN or infinite weights: its training diverged; take another checkpoint")
    device = model.device.type
    if name == "auto":
        name = "cpu" if device == "cpu" else "cuda"
    if name == "cpu":
        if device != "cpu":
            raise UserError(f"engine=cpu: the model is on {device}; add device=cpu")
        from vocoder.engines.cpu import CpuEngine  # numba takes a second to import

        return CpuEngine(model, precision, threads)
    if precision != "float32":
        raise UserError(f"precision={precision}: engine={name} computes in float32; leave it out, or use engine=cpu")
    if name == "cuda":
        if device != "cuda":
            raise UserError(f"engine=cuda: the model is on {device}; add device=cuda where there is a GPU")
        return CudaEngine(model)
    return ReferenceEngine(model)
