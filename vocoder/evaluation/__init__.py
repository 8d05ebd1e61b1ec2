"""Measures of synthesised speech against the recording it should resemble."""

from vocoder.evaluation.metrics import log_mel_distance

__all__ = ["log_mel_distance"]
