"""Which recordings are trained on: splits by a hash, arranged where that leaves one empty or a voice untaught."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from vocoder.corpora import hash_fraction
from vocoder.data.description import Record
from vocoder.data.index import SPLITS
from vocoder.errors import UserError

Key = Callable[[Record], str]  # what decides a record's split: records of one key stay together


def arrange_splits(
    records: list[Record], key: Key, needed: Sequence[str], hold_out: Collection[str], own_split: bool
) -> None:
    """Give every needed split its recordings, in place; speakers who have none in train go to test altogether.

    No model learns a voice that it is not trained on, so the voice is not offered, and does not count in dev either.
    (Where too few recordings would be left to fill dev, they stay, and so they do in a corpus's own split.)

    Raises:
        UserError: fewer than two recordings are usable, or all of them are held out.
    """
    _fill_empty(records, key, needed, hold_out, hold_out)
    if own_split:
        return
    kept = [record for record in records if record["status"] == "kept"]
    others = unlearned_speakers(records)
    learned = {record["speaker"] for record in kept} - {*others}
    if others and len({key(record) for record in kept if record["speaker"] in learned}) >= 2:
        for record in kept:
            if record["speaker"] in others:
                record["split"] = "test"
        _fill_empty(records, key, needed, {*hold_out, *others}, hold_out)


def unlearned_speakers(records: list[Record]) -> tuple[str, ...]:
    """Speakers none of whose recordings are in train, sorted."""
    kept = [record for record in records if record["status"] == "kept"]
    learned = {record["speaker"] for record in kept if record["split"] == "train"}
    return tuple(sorted({record["speaker"] for record in kept} - learned - {None}))


def _fill_empty(
    records: list[Record], key: Key, needed: Sequence[str], fixed: Collection[str], hold_out: Collection[str]
) -> None:
    """Move a recording from the largest split to each one that a small corpus has left empty: train, dev, then test.

    Recordings are taken in the order of their hashes; those that share what decides their split move together, and
    those of the speakers in `fixed` stay. The records are changed in place.

    Raises:
        UserError: as `arrange_splits`.
    """
    kept = [record for record in records if record["status"] == "kept"]
    kept.sort(key=lambda record: hash_fraction(key(record)))
    if len(kept) < 2:
        reasons = "; ".join([record["reason"] for record in records if record["status"] == "skipped"][:3])
        raise UserError(
            f"{len(kept)} of {len(records)} recordings are usable, but at least 2 are needed (one of them for "
            f"evaluation){': ' + reasons if reasons else ''}"
        )
    for split in needed[: len(kept)]:
        if any(record["split"] == split for record in kept):
            continue
        movable = [record for record in kept if record["speaker"] not in fixed]
        if not movable:
            raise UserError(f"hold_out={','.join(hold_out)}: no speaker is left to train on")
        counts = Counter(record["split"] for record in movable)
        largest = max(SPLITS, key=lambda name: counts[name])
        moved = key(next(record for record in movable if record["split"] == largest))
        for record in movable:
            if key(record) == moved:
                record["split"] = split
