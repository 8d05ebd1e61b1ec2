"""Drawing in generation: from the parameters of a sample of every lane to the sample.

Gumbel-max chooses a component or a class, and location + scale * noise, at the nearest level, is a component's value.
Arrays have lanes last, so that loops over lanes vectorise.
"""

from vocoder.kernels.jit import compiled, use_whole_vectors
from vocoder.kernels.math import exp, f32, fma, rint
from vocoder.kernels.rows import copy

LARGEST = f32(1e30)


@compiled
def take_samples(lanes, state, sampler, lpc, noise, forced, samples, recorded, update, order, t):
    """Draw sample t of every lane from its parameters, unless it is forced, and remember it."""
    use_whole_vectors()
    has_lpc, params, drawn = lpc.shape[0] > 0, state.params_by_lane, state.drawn
    for k in range(len(params)):
        row = params[k]
        for lane in range(lanes):
            row[lane] = state.params[lane, k]
    if has_lpc:
        _shift_and_scale(lanes, params, sampler, state.prediction, lpc[update, order], state.gain)
    if recorded.shape[0]:
        for k in range(recorded.shape[1]):
            copy(recorded[t, k], params[k, :lanes])
    _draw(lanes, params, sampler, noise[t], state.scores, drawn)
    sample, past = samples[t], state.past[order + t]
    for lane in range(lanes):
        if not forced[lane]:
            sample[lane] = drawn[lane]
    if has_lpc:
        _remember(lanes, past, state.excitation, sample, state.prediction, lpc[update, order])
    else:
        copy(past[:lanes], sample)


@compiled
def _remember(lanes, past, excitation, sample, prediction, log_gain):
    """The sample and its excitation. Where full scale clips the prediction, the unclipped prediction is remembered."""
    use_whole_vectors()
    for lane in range(lanes):
        x, p = sample[lane], prediction[lane]
        x = p if x == min(max(p, f32(-1)), f32(1)) else x
        excitation[lane] = (x - p) * exp(-log_gain[lane])
        past[lane] = x


@compiled
def _shift_and_scale(lanes, params, sampler, prediction, log_gain, gain):
    """Parameters of the sample from those of the excitation: x = p + g e; gain is working memory."""
    use_whole_vectors()
    for lane in range(lanes):
        gain[lane] = exp(log_gain[lane])
    for k in range(sampler.choices):
        location, log_scale = params[sampler.first_location + k], params[sampler.first_log_scale + k]
        for lane in range(lanes):
            location[lane] = fma(gain[lane], location[lane], prediction[lane])
            log_scale[lane] += log_gain[lane]


@compiled
def _draw(lanes, params, sampler, noise, scores, drawn):
    """A choice by the Gumbel-max trick, then its value, or location + scale * noise, at the nearest level.

    scores: [3, lanes], working memory: the highest score, and location and log-scale, or value, of its choice.
    """
    use_whole_vectors()
    highest, location, log_scale = scores[0], scores[1], scores[2]
    has_location = sampler.first_location >= 0
    for k in range(sampler.choices):
        logit, gumbel = params[k], noise[k]
        its_location = params[max(sampler.first_location, 0) + k]
        its_log_scale = params[max(sampler.first_log_scale, 0) + k]
        value = f32(0) if has_location else sampler.values[k]
        for lane in range(lanes):
            score = logit[lane] / sampler.temperature + gumbel[lane] if sampler.choices > 1 else f32(0)
            is_best = k == 0 or score > highest[lane]
            highest[lane] = score if is_best else highest[lane]
            location[lane] = (its_location[lane] if has_location else value) if is_best else location[lane]
            log_scale[lane] = its_log_scale[lane] if is_best else log_scale[lane]
    value_noise = noise[sampler.choices]
    for lane in range(lanes):
        drawn[lane] = location[lane]
        if has_location:
            scale = sampler.temperature * exp(max(log_scale[lane], sampler.log_scale_min))
            drawn[lane] = _nearest_level(location[lane], scale * value_noise[lane], sampler.levels)


@compiled
def _nearest_level(location, offset, levels):
    """The level nearest to location + offset, as `Grid.round`.

    The distance from the level next to the location is rounded, not the sum: from 0.5 on float32 has too few values for
    the sum in 16 bits.
    """
    highest = f32(levels - 1) * f32(0.5)
    between = f32(0) if levels % 2 else f32(0.5)
    y = min(max(location * highest, -LARGEST), LARGEST)
    level = rint(y - between) + between
    level += rint(fma(offset, highest, y - level))
    return min(max(level, -highest), highest) / highest
