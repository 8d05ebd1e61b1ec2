"""Measures of synthesised speech against the recording it should resemble, and what to compare it with."""

from vocoder.evaluation.baselines import filtered_noise, griffin_lim
from vocoder.evaluation.joins import JoinChanges, seams
from vocoder.evaluation.metrics import level_in_pauses, log_mel_distance
from vocoder.evaluation.perceptual import pesq, stoi

__all__ = [
    "JoinChanges",
    "filtered_noise",
    "griffin_lim",
    "level_in_pauses",
    "log_mel_distance",
    "pesq",
    "seams",
    "stoi",
]
