"""Autoregressive generation: one sample after another, each fed back to predict the next."""

from vocoder.engines.base import Engine, Frame, Lanes
from vocoder.engines.noise import Noise
from vocoder.engines.pick import PRECISIONS, pick_engine
from vocoder.engines.reference import ReferenceEngine

__all__ = ["PRECISIONS", "Engine", "Frame", "Lanes", "Noise", "ReferenceEngine", "pick_engine"]
