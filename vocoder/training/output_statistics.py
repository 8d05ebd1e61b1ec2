"""Statistics of the predicted distributions, logged during training."""

import torch
from torch import Tensor

from vocoder.distributions import Distribution


@torch.no_grad()
def output_statistics(distribution: Distribution, params: Tensor) -> dict[str, float]:
    """Use of the mixture components and their scale, from params [B, P, T].

    - `output/components`: the effective number of components (of classes for a categorical distribution), e to the
      entropy of the mean weights. Absent if there is one component.
    - `output/weight_NN`: the mean weight of each mixture component.
    - `output/scale_lsb`: the geometric mean of the scales in quantisation steps, weighted like the components.
    """
    spec = distribution.sampler_spec
    params = params.double()
    weights = params[:, : spec.choices].softmax(1) if spec.choices > 1 else torch.ones_like(params[:, :1])
    found = {}
    if spec.choices > 1:
        mean = weights.mean((0, 2))
        found["output/components"] = float((-(mean * mean.clamp(min=1e-30).log()).sum()).exp())
        if spec.first_location is not None:
            found |= {f"output/weight_{i:02d}": float(weight) for i, weight in enumerate(mean)}
    first = spec.first_log_scale
    if first is not None:
        log_scales = params[:, first : first + spec.choices].clamp(min=spec.log_scale_min)
        step = 2 / (spec.levels - 1)
        found["output/scale_lsb"] = float((weights * log_scales).sum(1).mean().exp() / step)
    return found
