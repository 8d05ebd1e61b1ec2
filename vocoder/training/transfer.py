"""Beginning with another model's weights."""

from torch import Tensor

from vocoder.model import VocoderModel, load_model
from vocoder.model.checkpoint import Checkpoint
from vocoder.settings import differences

SPEAKERS = "speaker_embedding.weight"


def start_from(model: VocoderModel, checkpoint: Checkpoint) -> list[str]:
    """Take the averaged weights of another model where name and shape agree; returns what does not, for people.

    Speakers are known again by their names. The statistics that normalise the mel come along: weights are used to them.
    """
    other = load_model(checkpoint)
    theirs, ours = other.state_dict(), model.state_dict()
    taken: dict[str, Tensor] = {}
    new: list[str] = []
    for name, tensor in ours.items():
        if name == SPEAKERS:
            taken[name] = _by_name(tensor, model.speakers, theirs.get(name), other.speakers, new)
        elif name in theirs and theirs[name].shape == tensor.shape:
            taken[name] = theirs[name]
        else:
            was = f", {list(theirs[name].shape)} there" if name in theirs else ", not there"
            new.append(f"new: {name} {list(tensor.shape)}{was}")
    model.load_state_dict(taken, strict=False)
    left = [f"left out: {name} {list(theirs[name].shape)}" for name in theirs if name not in ours]
    return new + left


def changes(model_config: dict[str, object], checkpoint: Checkpoint) -> list[str]:
    """How another model's description differs from ours."""
    return sorted(differences(checkpoint.config.to_json(), model_config))


def _by_name(
    ours: Tensor, speakers: tuple[str, ...], theirs: Tensor | None, known: tuple[str, ...], new: list[str]
) -> Tensor:
    taken = ours.clone()
    for row, speaker in enumerate(speakers):
        if theirs is not None and theirs.shape[1:] == ours.shape[1:] and speaker in known:
            taken[row] = theirs[known.index(speaker)]
        else:
            new.append(f"new: the speaker {speaker}")
    return taken
