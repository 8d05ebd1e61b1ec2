"""Checks that model, store, options and number of processes fit together, before training starts."""

import math

from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.evaluation.spectral import MIN_SAMPLES
from vocoder.model import VocoderConfig
from vocoder.training.config import TrainingConfig
from vocoder.training.distributed import World


def check_compatible(vocoder_config: VocoderConfig, store: Store, config: TrainingConfig, world: World) -> None:
    """Raise UserError if the parts of a training run do not fit together."""
    if store.spec != vocoder_config.mel:
        raise UserError(
            f"{store.directory}: its mels are not the model's ({store.spec.differences(vocoder_config.mel)}); "
            "preprocess the corpus with the model's mel, or train a new model"
        )
    batch = config.batch
    samples = batch.segment_frames * store.spec.hop_length
    if config.loss.spectral_weight and samples < MIN_SAMPLES:
        raise UserError(
            f"training.batch.segment_frames={batch.segment_frames}: {samples} samples are too few for a spectral "
            f"loss; take {math.ceil(MIN_SAMPLES / store.spec.hop_length)} or more, or training.loss.spectral_weight=0"
        )
    if batch.size % world.size:
        raise UserError(
            f"training.batch.size={batch.size}: this is the batch of all {world.size} processes together; "
            f"take a multiple of {world.size}"
        )
