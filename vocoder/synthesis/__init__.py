"""From mels to waveforms: one utterance, many at once, one in pieces, or streamed."""

from vocoder.synthesis.batching import Task, generate
from vocoder.synthesis.bulk import SynthesisOptions, check_folder, synthesize_into
from vocoder.synthesis.frames import frames_of
from vocoder.synthesis.sources import Source, find_sources
from vocoder.synthesis.vocoder import MelFormat, Request, Vocoder, load

__all__ = [
    "MelFormat",
    "Request",
    "Source",
    "SynthesisOptions",
    "Task",
    "Vocoder",
    "check_folder",
    "find_sources",
    "frames_of",
    "generate",
    "load",
    "synthesize_into",
]
