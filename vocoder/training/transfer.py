"""Fine-tuning: a new run starts with another model's weights."""

from torch import Tensor

from vocoder.model import VocoderModel, load_model
from vocoder.model.checkpoint import Checkpoint
from vocoder.settings import differences

SPEAKERS = "speaker_embedding.weight"


def load_matching_weights(model: VocoderModel, checkpoint: Checkpoint) -> list[str]:
    """Copy another model's EMA weights wherever name and shape agree; returns a line for each that does not.

    Speaker embeddings are matched by the speakers' names. The statistics that normalise the mel are copied too,
    because the weights were trained with them.
    """
    other = load_model(checkpoint)
    theirs, ours = other.state_dict(), model.state_dict()
    matching: dict[str, Tensor] = {}
    new: list[str] = []
    for name, tensor in ours.items():
        if name == SPEAKERS:
            matching[name] = _speakers_by_name(tensor, model.speakers, theirs.get(name), other.speakers, new)
        elif name in theirs and theirs[name].shape == tensor.shape:
            matching[name] = theirs[name]
        else:
            there = f", {list(theirs[name].shape)} there" if name in theirs else ", not there"
            new.append(f"new: {name} {list(tensor.shape)}{there}")
    model.load_state_dict(matching, strict=False)
    left_out = [f"left out: {name} {list(theirs[name].shape)}" for name in theirs if name not in ours]
    return new + left_out


def config_differences(vocoder_config: dict[str, object], checkpoint: Checkpoint) -> list[str]:
    """The differences between another model's configuration and ours, one line each."""
    ours = {name: value for name, value in vocoder_config.items() if name != "contract"}  # a hundred numbers
    return sorted(differences(checkpoint.config.network_json(), ours))


def _speakers_by_name(
    ours: Tensor, speakers: tuple[str, ...], theirs: Tensor | None, known: tuple[str, ...], new: list[str]
) -> Tensor:
    """Our embeddings, with the rows of known speakers copied from theirs; the other speakers are added to `new`."""
    rows = ours.clone()
    for row, speaker in enumerate(speakers):
        if theirs is not None and theirs.shape[1:] == ours.shape[1:] and speaker in known:
            rows[row] = theirs[known.index(speaker)]
        else:
            new.append(f"new: the speaker {speaker}")
    return rows
