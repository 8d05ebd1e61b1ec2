"""The state of a run: the keys in train_state.pt, and defaults for checkpoints that lack some."""

from vocoder.training import TrainState
from vocoder.training.config import GuardConfig
from vocoder.training.guard import Guard


def new_state() -> TrainState:
    return TrainState(Guard(GuardConfig()), parts=2)


def test_a_saved_state_is_restored_whole_except_dev_bits() -> None:
    state = TrainState(
        guard=Guard(GuardConfig(), skipped=3, seen=7, mean=1.5),
        parts=4,
        step=9,
        dropped_batches=5,
        minutes=2.5,
        unlogged_losses=[6.0, 7.0],
        dev_bits=8.0,
        last_dev_bits=8.0,
    )
    restored = new_state()
    restored.load_state_dict(state.state_dict(), dev_bits=8.0)
    assert restored == state
    assert restored.next_batch == 14
    state.unlogged_losses.append(0.0)
    assert restored.unlogged_losses == [6.0, 7.0]


def test_the_keys_on_disk_stay() -> None:
    keys = ["step", "passed_over", "parts", "minutes", "pending", "guard", "last_dev_bits"]
    assert list(new_state().state_dict()) == keys


def test_a_checkpoint_of_an_older_version_lacks_some_keys() -> None:
    state = new_state()
    state.load_state_dict({"step": 3, "minutes": 1.0}, dev_bits=7.5)
    assert state == TrainState(Guard(GuardConfig()), parts=2, step=3, minutes=1.0, dev_bits=7.5, last_dev_bits=7.5)
