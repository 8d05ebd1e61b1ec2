"""Settings of vocoder-train for tests."""

TINY = [  # a network that trains thirty steps in a second or two
    "model.wavenet.layers=4",
    "model.wavenet.stacks=2",
    "model.wavenet.kernel_size=2",
    "model.wavenet.residual_channels=8",
    "model.wavenet.gate_channels=16",
    "model.wavenet.skip_channels=8",
    "model.conditioning.channels=8",
    "distribution.components=3",
    "training.batch.segment_frames=4",
    "training.checkpoint.dev_seconds=1",
    "training.audition.every=0",
    "device=cpu",
]
