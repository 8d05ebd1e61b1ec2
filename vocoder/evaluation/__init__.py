"""Objective measures of synthesised speech against the recording, and baselines to compare it with."""

from vocoder.evaluation.baselines import filtered_noise, griffin_lim
from vocoder.evaluation.joins import JoinChanges, changes_at_joins
from vocoder.evaluation.metrics import level_in_pauses, log_mel_distance
from vocoder.evaluation.perceptual import pesq, stoi

__all__ = [
    "JoinChanges",
    "changes_at_joins",
    "filtered_noise",
    "griffin_lim",
    "level_in_pauses",
    "log_mel_distance",
    "pesq",
    "stoi",
]
