"""The log-likelihood of a discretized mixture of logistics and its gradient, in one pass over the samples.

The equations of `vocoder.distributions.mixture`, for the variable x = shift + exp(log_scale) y whose y has the
parameters. With a = exp(-|upper|), b = exp(-|lower|) and the width w = upper - lower, the mass of a bin

    sigmoid(upper) sigmoid(-lower) (1 - exp(-w)) = exp(min(upper, 0) + min(-lower, 0)) (1 - exp(-w)) / ((1 + a) (1 + b))

takes one logarithm. For narrow bins 1 - exp(-w) is w times a polynomial, and the logarithm of w is known.

Samples are taken in blocks, and transposed, so that loops over the samples of a block vectorise for any number of
components. Not-a-number passes through: training skips such batches.

N samples, M components.
"""

import math

import numpy as np

from vocoder.kernels.jit import borrowed, compiled, inlined, jitable, use_whole_vectors
from vocoder.kernels.math import exp, f32, log, mean_of_exp_minus

BLOCK = 64  # samples
LN2 = f32(math.log(2))


@jitable
def mixture_log_prob(
    worker, workers, params, samples, shift, log_scale, half_bin, log_bin, log_scale_min, log_prob, gradient
):  # fmt: skip
    """Write the log-probability of every sample, and its gradient with respect to the parameters.

    Args:
        params: [N, 3 M], logits, means and log-scales.
        samples: [N], on the grid.
        shift, log_scale: [N], or [0] for 0.
        half_bin, log_bin: half the width of a bin, and the logarithm of the whole.
        log_scale_min: floor on log-scales, after the shift by `log_scale`.
        log_prob: [N], written.
        gradient: [N, 3 M], written; or [0, 3 M].
    """
    components = params.shape[1] // 3
    by_channel = np.zeros((3 * components, BLOCK), f32)  # parameters, and then their gradient
    component = np.zeros((components, BLOCK), f32)  # log-probability of each
    rows = np.zeros((5, BLOCK), f32)
    sizes = half_bin, log_bin, log_scale_min
    buffers = by_channel, component, rows
    _mixture_log_prob(worker, workers, params, samples, shift, log_scale, sizes, log_prob, gradient, buffers)


@compiled
def _mixture_log_prob(
    worker, workers, params, samples, shift, log_scale, sizes, log_prob, gradient, owned_buffers
):  # fmt: skip
    """`mixture_log_prob` with its buffers."""
    use_whole_vectors()
    by_channel, component, rows = borrowed(owned_buffers)
    x, shifts, log_scales, highest, total = rows[0], rows[1], rows[2], rows[3], rows[4]
    components, (half_bin, log_bin, log_scale_min) = len(component), sizes
    for block in range(worker, -(-len(samples) // BLOCK), workers):
        first = block * BLOCK
        n = min(BLOCK, len(samples) - first)
        for i in range(n):
            x[i] = samples[first + i]
            if len(shift):
                shifts[i], log_scales[i] = shift[first + i], log_scale[first + i]
            for k in range(3 * components):
                by_channel[k, i] = params[first + i, k]
        logits, means, scales = _thirds(by_channel)
        for m in range(components):
            _component(x, shifts, log_scales, half_bin, log_bin, log_scale_min, means[m], scales[m], component[m])
        _mix(logits, component, highest, total)
        for i in range(n):
            log_prob[first + i] = total[i]
        if len(gradient):
            for m in range(components):
                _weigh_by_posterior(component[m], logits[m], total, means[m], scales[m])
            for i in range(n):
                for k in range(3 * components):
                    gradient[first + i, k] = by_channel[k, i]


@inlined
def _thirds(by_channel):
    """Logits, means and log-scales."""
    components = len(by_channel) // 3
    return by_channel[:components], by_channel[components : 2 * components], by_channel[2 * components :]


@compiled
def _component(x, shifts, log_scales, half_bin, log_bin, log_scale_min, means, scales, component):
    """Log-probability of x under one component; its gradient replaces the component's means and log-scales.

    All branches are computed, and then one is selected: so the loop vectorises.
    """
    use_whole_vectors()
    for i in range(len(x)):
        shifted = log_scales[i] + scales[i]
        is_free = not shifted < log_scale_min
        scale = shifted if is_free else log_scale_min
        gain, inverse = exp(log_scales[i]), exp(-scale)
        distance = x[i] - (shifts[i] + gain * means[i])
        upper, lower = (distance + half_bin) * inverse, (distance - half_bin) * inverse
        width = f32(2) * half_bin * inverse
        a, b, c = exp(-abs(upper)), exp(-abs(lower)), exp(-width)
        slope = mean_of_exp_minus(min(width, LN2))  # (1 - exp(-w)) / w
        is_narrow, is_lowest, is_highest = width < LN2, x[i] <= half_bin - f32(1), x[i] >= f32(1) - half_bin
        # A bin between the outermost has a lower edge, an upper edge and a width; a tail has one edge.
        lower_edge, upper_edge, mass = f32(1) + b, f32(1) + a, slope if is_narrow else f32(1) - c
        upper_log, lower_log = min(upper, f32(0)), min(-lower, f32(0))
        width_log = log_bin - scale if is_narrow else f32(0)
        dwidth = c / slope if is_narrow else width * c / (f32(1) - c)
        dupper = (f32(1) if upper < 0 else a) / upper_edge  # sigmoid(-upper)
        dlower = -(b if lower < 0 else f32(1)) / lower_edge  # -sigmoid(lower)
        if is_lowest:
            lower_edge, lower_log, dlower = f32(1), f32(0), f32(0)
        if is_highest:
            upper_edge, upper_log, dupper = f32(1), f32(0), f32(0)
        if is_lowest or is_highest:
            mass, width_log, dwidth = f32(1), f32(0), f32(0)
        known = distance == distance and scale == scale  # false for not-a-number, which `exp` and `min` would lose
        log_mass = log(mass / (lower_edge * upper_edge)) + width_log + upper_log + lower_log
        component[i] = log_mass if known else f32(np.nan)
        means[i] = -gain * inverse * (dupper + dlower)
        scales[i] = -(upper * dupper + lower * dlower + dwidth) if is_free else f32(0)


@compiled
def _mix(logits, component, highest, total):
    """The mixture's log-probability; its components' weights replace logits, and their share of it `component`."""
    use_whole_vectors()
    _log_sum_exp(logits, highest, total)
    for m in range(len(logits)):
        logit, log_prob = logits[m], component[m]
        for i in range(len(total)):
            log_weight = logit[i] - total[i]
            log_prob[i] += log_weight
            logit[i] = exp(log_weight)
    _log_sum_exp(component, highest, total)


@compiled
def _log_sum_exp(rows, highest, total):
    """total = log of the sum of exp over rows; not-a-number, if one of them is."""
    use_whole_vectors()
    for i in range(len(total)):
        highest[i], total[i] = f32(-np.inf), f32(0)
    for m in range(len(rows)):
        row = rows[m]
        for i in range(len(total)):
            highest[i] = max(highest[i], row[i])
    for m in range(len(rows)):
        row = rows[m]
        for i in range(len(total)):
            difference = row[i] - highest[i]
            total[i] += exp(difference) if difference == difference else difference
    for i in range(len(total)):
        total[i] = highest[i] + log(total[i])


@compiled
def _weigh_by_posterior(component, weights, total, dmeans, dscales):
    """Gradients of a component's parameters, from those of its own log-probability; that of its logit in `weights`."""
    use_whole_vectors()
    for i in range(len(total)):
        posterior = exp(component[i] - total[i])
        weights[i] = posterior - weights[i]
        dmeans[i] *= posterior
        dscales[i] *= posterior
