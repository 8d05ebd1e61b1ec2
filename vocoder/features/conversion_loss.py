"""The loss of approximate conversions, as `python -m scripts.experiments.measure_mels` measured it on real speech."""

import json
from functools import cache
from pathlib import Path

LOSSES = Path(__file__).parent / "conversion_loss.json"


@cache
def _losses() -> dict[str, dict[str, float]]:
    return json.loads(LOSSES.read_text(encoding="utf-8"))


def expected_loss(source: str, target: str) -> str:
    """Mean absolute error in dB of a converted mel, against that of the recording, in words."""
    loss = _losses().get(source, {}).get(target)
    return "unknown size: not measured" if loss is None else f"{loss:.1f} dB on average"
