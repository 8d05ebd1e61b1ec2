"""From mels to waveforms: of one utterance, of many at once, in pieces, as they come in."""

from vocoder.synthesis.batching import Job, generate
from vocoder.synthesis.bulk import SynthesisOptions, check_folder, synthesize_into
from vocoder.synthesis.frames import frames_of
from vocoder.synthesis.sources import Source, find_sources, shard_of
from vocoder.synthesis.vocoder import Request, Vocoder, load

__all__ = [
    "Job",
    "Request",
    "Source",
    "SynthesisOptions",
    "Vocoder",
    "check_folder",
    "find_sources",
    "frames_of",
    "generate",
    "load",
    "shard_of",
    "synthesize_into",
]
