"""The loss of approximate conversions, as it was measured on real speech (docs/mels.md)."""

from vocoder.features.conversion_losses import LOSSES


def expected_loss(source: str, target: str) -> str:
    """Mean absolute error in dB of a converted mel, against that of the recording, in words."""
    loss = LOSSES.get(source, {}).get(target)
    return "unknown size: not measured" if loss is None else f"{loss:.1f} dB on average"
