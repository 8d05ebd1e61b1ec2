"""Corpora as they are published or kept: which recordings, of whom, and in which split. One file for each layout."""

from vocoder.corpora.corpus import AUTO, LAYOUTS, Corpus, check_layout, read_corpus
from vocoder.corpora.folder import find_recordings
from vocoder.corpora.recording import Recording, escaped
from vocoder.corpora.walk import walk_files

__all__ = [
    "AUTO",
    "LAYOUTS",
    "Corpus",
    "Recording",
    "check_layout",
    "escaped",
    "find_recordings",
    "read_corpus",
    "walk_files",
]
