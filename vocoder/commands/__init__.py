"""The console scripts. Only this package imports Hydra."""

import signal

INTERRUPTED = 128 + signal.SIGINT  # exit code after Ctrl-C: the shells' code for a program that a signal ended

# The package that holds each command's YAML files. Training has config groups, so it has a package of its own: Hydra
# reads `model=…` as the choice of a group wherever a folder of that name is in the package, and synthesis has a setting
# called model.
CONFIG_PACKAGES = {
    "preprocess": "vocoder.configs",
    "train": "vocoder.configs.train",
    "synthesize": "vocoder.configs",
    "evaluate": "vocoder.configs",
    "import": "vocoder.configs",
    "doctor": "vocoder.configs",
}
