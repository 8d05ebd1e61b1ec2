"""A check that a mel can have been made with a `MelSpec`."""

from functools import lru_cache

from torch import Tensor

from vocoder.errors import UserError
from vocoder.features.presets import preset_name
from vocoder.features.spec import MelSpec

# How far, in nepers, an acoustic model's mel may lie outside the range that the spec can produce.
OVERSHOOT = 2.0


def check_mel(mel: Tensor, spec: MelSpec, *, whole_utterance: bool = True) -> None:
    """Reject a mel [n_mels, F] that this spec cannot have produced.

    Args:
        whole_utterance: whether to check the mean, too; that of a short piece proves nothing.

    Raises:
        UserError: wrong shape or layout, no frames, NaN or infinite values, or a range or mean that shows another
            log base, scale or normalisation.
    """
    if mel.ndim != 2:
        raise UserError(f"a mel has two axes [n_mels, frames]; this one has shape {list(mel.shape)}")
    bands, frames = mel.shape
    if bands != spec.n_mels and frames == spec.n_mels:
        raise UserError(f"this mel is [frames, n_mels] = {list(mel.shape)}; transpose it to [{spec.n_mels}, {bands}]")
    if bands != spec.n_mels:
        raise UserError(f"this mel has {bands} bands, the model takes {spec.n_mels} ({preset_name(spec)})")
    if frames == 0:
        raise UserError("this mel has no frames")
    if not mel.isfinite().all():
        raise UserError("this mel has NaN or infinite values")
    low, high = float(mel.min()), float(mel.max())
    lowest, highest = possible_range(spec)
    if low < lowest or high > highest:
        raise UserError(
            f"this mel runs from {low:.1f} to {high:.1f}; {preset_name(spec)} (log base {spec.log_base}) gives "
            f"{spec.log_minimum:.1f} to {spec.log_maximum:.1f}: it was made with another log, scale or normalisation"
        )
    mean = float(mel.mean())
    # A mel normalised to mean 0 and variance 1 is within the range, and only its mean is too high.
    if whole_utterance and mean > spec.log_noise:
        raise UserError(
            f"this mel averages {mean:.1f}, more than full-scale white noise in {preset_name(spec)} (log base "
            f"{spec.log_base}), {spec.log_noise:.1f}: it was made with another log, scale or normalisation"
        )


@lru_cache(maxsize=64)
def possible_range(spec: MelSpec) -> tuple[float, float]:
    """The lowest and highest value that a mel of this spec can have, with the overshoot of an acoustic model."""
    overshoot = OVERSHOOT / spec.log_unit
    return spec.log_minimum - overshoot, spec.log_maximum + overshoot
