"""Out-of-memory errors: how to recognise them, and what to advise."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch's allocator on the CPU raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def out_of_memory_advice(parts: int, segments: int) -> str:
    """The message for a user when a batch of `segments`, split into `parts`, cannot be split automatically."""
    if parts >= segments:
        return "out of memory for a single segment; take a smaller training.batch.segment_frames, or a smaller model"
    return (
        "out of memory in one of several processes; "
        f"take training.batch.accumulate={2 * parts}, which computes the same in smaller parts"
    )
