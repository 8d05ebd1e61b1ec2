"""From recordings to training batches: preprocessing, the store on disk and its index, aligned segments.

The names exported here read and write a store; `vocoder.data.preprocess` makes one from recordings.
"""

from vocoder.data.dataset import Batch, Margins, Sampling, SegmentBatches, read_segment
from vocoder.data.index import SPLITS, Entry, UtteranceIndex
from vocoder.data.store import Store, StoreWriter, Utterance

__all__ = [
    "SPLITS",
    "Batch",
    "Entry",
    "Margins",
    "Sampling",
    "SegmentBatches",
    "Store",
    "StoreWriter",
    "Utterance",
    "UtteranceIndex",
    "read_segment",
]
