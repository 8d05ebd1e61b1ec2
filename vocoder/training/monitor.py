"""The logs of a run: TensorBoard, and the same scalars at full precision in log.jsonl."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from vocoder.features.mel import MelSpec
from vocoder.files import atomic_write, write_errors_as_user_errors


class Monitor:
    """Logs scalars, audio and figures of a run; on resume, entries after `step` are dropped."""

    def __init__(self, directory: Path, step: int) -> None:
        self._directory, self._path = directory, directory / "log.jsonl"
        self._open(step)

    def _open(self, step: int) -> None:
        with write_errors_as_user_errors(self._directory):
            self._directory.mkdir(parents=True, exist_ok=True)
            if self._path.exists():
                self._drop_after(step)
            self._log = self._path.open("a", encoding="utf-8")
            self._writer = SummaryWriter(self._directory / "tensorboard", purge_step=step + 1 if step else None)

    def rewind(self, step: int) -> None:
        """Drop the entries after `step`, from which the run continues."""
        self.close()
        self._open(step)

    def event(self, step: int, message: str, ids: Sequence[str]) -> None:
        """Log an event at a step and the utterances of its batch, as text."""
        self._write({"step": step, "event": message, "ids": list(ids)})
        self._writer.add_text("events", message, step)

    def hyperparameters(self, values: dict[str, Any], metrics: dict[str, float]) -> None:
        """Log hyperparameters by dotted names and the final metrics, for TensorBoard's table of runs."""
        plain = {key: value if isinstance(value, bool | int | float) else str(value) for key, value in values.items()}
        for summary in hparams(plain, metrics):
            self._writer._get_file_writer().add_summary(summary)  # add_hparams would create a separate run

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Write one line to the log, and one point to each TensorBoard curve."""
        self._write({"step": step, **values})
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def audio(self, step: int, name: str, wave: np.ndarray, sample_rate: int) -> None:
        """Log a waveform [T] in [-1, 1]."""
        self._writer.add_audio(name, torch.from_numpy(wave)[None], step, sample_rate)

    def pictures(self, step: int, name: str, waves: dict[str, np.ndarray], spec: MelSpec) -> None:
        """Log the report's figure of waveforms [T] by title, all of one length, the target first."""
        import matplotlib  # here, because every training process imports this file, and few of them draw

        from vocoder.report import figure_of, mel_in_db

        matplotlib.use("agg")  # or TensorBoard's conversion could open a display
        mels = {title: mel_in_db(wave, spec) for title, wave in waves.items()}
        self._writer.add_figure(name, figure_of(waves, mels, spec), step)

    def close(self) -> None:
        self._log.close()
        self._writer.close()

    def _write(self, record: dict[str, Any]) -> None:
        with write_errors_as_user_errors(self._path):
            self._log.write(json.dumps(record) + "\n")
            self._log.flush()

    def _drop_after(self, step: int) -> None:
        lines = self._path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
        with atomic_write(self._path) as partial:
            partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


class NullMonitor(Monitor):
    """Logs nothing: for processes other than the first."""

    def __init__(self) -> None:
        pass

    def rewind(self, step: int) -> None: ...
    def event(self, step: int, message: str, ids: Sequence[str]) -> None: ...
    def hyperparameters(self, values: dict[str, Any], metrics: dict[str, float]) -> None: ...
    def scalars(self, step: int, values: dict[str, float]) -> None: ...
    def audio(self, step: int, name: str, wave: np.ndarray, sample_rate: int) -> None: ...
    def pictures(self, step: int, name: str, waves: dict[str, np.ndarray], spec: MelSpec) -> None: ...
    def close(self) -> None: ...
