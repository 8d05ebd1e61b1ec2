"""A WaveNet vocoder with an exact likelihood: mel-spectrograms to speech."""

from vocoder.synthesis import Vocoder, load

__all__ = ["Vocoder", "load"]
