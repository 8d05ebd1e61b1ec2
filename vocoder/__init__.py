"""A WaveNet vocoder with an exact likelihood: mel-spectrograms to speech."""

from vocoder.synthesis import Request, Vocoder, load

__all__ = ["Request", "Vocoder", "load"]
