"""Corpora as they are published or kept: which recordings, of whom, and in which split. One file for each layout."""

from vocoder.corpora.corpus import AUTO, LAYOUTS, Corpus, check_layout, read_corpus
from vocoder.corpora.folder import find_recordings
from vocoder.corpora.recording import Recording
from vocoder.corpora.split import hash_fraction
from vocoder.corpora.walk import walk_files

__all__ = [
    "AUTO",
    "LAYOUTS",
    "Corpus",
    "Recording",
    "check_layout",
    "find_recordings",
    "hash_fraction",
    "read_corpus",
    "walk_files",
]
