"""Chooses the engine for a model, by name or by device."""

from vocoder.engines.base import Engine
from vocoder.engines.cuda import CudaEngine
from vocoder.engines.reference import ReferenceEngine
from vocoder.errors import UserError
from vocoder.model import VocoderModel

ENGINES = ("auto", "reference", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")


def pick_engine(
    model: VocoderModel, name: str = "auto", precision: str = "float32", threads: int | None = None
) -> Engine:
    """The engine called `name` for a model, on the model's device; "auto" is cpu on a CPU and cuda on a GPU.

    Args:
        precision: "auto" is the faster of the cpu engine's on this processor, and float32 for other engines.

    Raises:
        UserError: no engine has that name, or it cannot run this model here.
    """
    _check_choices(name, precision, threads)
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise UserError("this model has NaN or infinite weights: its training diverged; take another checkpoint")
    device = model.device.type
    if name == "auto":
        name = "cpu" if device == "cpu" else "cuda"
    if name == "cpu":
        if device != "cpu":
            raise UserError(f"engine=cpu: the model is on {device}; add device=cpu")
        from vocoder.engines.cpu import CpuEngine, fastest_precision  # here, because importing numba takes a second

        precision = fastest_precision() if precision == "auto" else precision
        return CpuEngine(model, precision, threads)
    if precision not in ("auto", "float32"):
        raise UserError(f"precision={precision}: engine={name} computes in float32; leave it out, or use engine=cpu")
    if name == "cuda":
        if device != "cuda":
            raise UserError(f"engine=cuda: the model is on {device}; add device=cuda where there is a GPU")
        return CudaEngine(model)
    return ReferenceEngine(model)


def _check_choices(name: str, precision: str, threads: int | None) -> None:
    if name not in ENGINES:
        raise UserError(f"engine={name}: unknown; choose from {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision}: unknown; choose from {', '.join(PRECISIONS)}")
    if threads is not None and threads < 1:
        raise UserError(f"threads={threads}: must be at least 1")
