"""The loss of approximate conversions, as it was measured on real speech (docs/mels.md)."""

from vocoder.features.conversion_losses import LOSSES
from vocoder.features.presets import PRESETS, preset_name


def expected_loss(source: str, target: str) -> str:
    """Mean absolute error in dB of a converted mel, against that of the recording, in words."""
    source, target = (preset_name(PRESETS[name]) if name in PRESETS else name for name in (source, target))  # of equals
    loss = LOSSES.get(source, {}).get(target)
    return "unknown size: not measured" if loss is None else f"{loss:.1f} dB on average"
