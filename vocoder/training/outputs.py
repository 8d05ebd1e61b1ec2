"""What a network's predictions are like, in numbers to be watched during training."""

import torch
from torch import Tensor

from vocoder.distributions import Distribution


@torch.no_grad()
def described(distribution: Distribution, params: Tensor) -> dict[str, float]:
    """Of params [B, P, T]: how much each component is used, how many of them in effect, and their scale.

    `output/components` is e to the entropy of the mean weights: 1 where one component does it all. `output/scale_lsb`
    is the geometric mean of the scales in steps of the grid, each weighted as its component is. A distribution of one
    component has its scale alone, a categorical one its classes in use.
    """
    drawing = distribution.sampler_spec
    params = params.double()
    weights = params[:, : drawing.choices].softmax(1) if drawing.choices > 1 else torch.ones_like(params[:, :1])
    found = {}
    if drawing.choices > 1:
        mean = weights.mean((0, 2))
        found["output/components"] = float((-(mean * mean.clamp(min=1e-30).log()).sum()).exp())
        if drawing.first_location is not None:
            found |= {f"output/weight_{i:02d}": float(weight) for i, weight in enumerate(mean)}
    first = drawing.first_log_scale
    if first is not None:
        log_scales = params[:, first : first + drawing.choices].clamp(min=drawing.log_scale_min)
        step = 2 / (drawing.levels - 1)
        found["output/scale_lsb"] = float((weights * log_scales).sum(1).mean().exp() / step)
    return found
