"""Autoregressive generation: one sample after another, each fed back to predict the next."""

from vocoder.engines.noise import Noise
from vocoder.engines.reference import ReferenceEngine

__all__ = ["Noise", "ReferenceEngine"]
