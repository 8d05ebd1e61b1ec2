"""The demo: let the package's voice speak; then fetch speech, train a model on it, synthesise, and report.

    python scripts/demo.py      (make demo)

Environment variables:

DEMO_MINUTES   minutes of training, 10 by default; with a larger number, a finished demo trains for longer
DEMO_FROM      "voice", the default, starts the training with the weights of the package's voice; "scratch" with none
WAVS           a folder of your own recordings, used instead of the demo corpus
DEMO           the output folder, "demo" by default

After an interruption, the same command resumes: finished stages are not repeated, and training continues.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

UTTERANCES = 5
BIN = Path(sys.executable).parent
PROJECT = Path(__file__).resolve().parent.parent
VOICE = PROJECT / "vocoder/voice"
SAMPLES = PROJECT / "docs/samples"  # of sentences that the voice was not trained on


def main() -> None:
    minutes = parse_minutes(os.environ.get("DEMO_MINUTES") or "10")
    from_voice = parse_start(os.environ.get("DEMO_FROM") or "voice")
    own = os.environ.get("WAVS")
    demo = Path(os.environ.get("DEMO") or "demo")
    home = demo / ((folder_name(Path(own)) if own else "allison") + ("" if from_voice else "-scratch"))
    home.mkdir(parents=True, exist_ok=True)
    wavs, store, run, output = demo / "wavs", home / "store", home / "runs/demo", home / "synthesized"
    stages = Stages(home / "seconds.json")
    stages.run_once("listen", lambda: listen(demo / "voice"))
    if not own:
        stages.run_once("fetch", lambda: fetch(wavs))
    # The voice's weights are for the mels it was trained on; the demo corpus itself has only 16 kHz.
    mel = "hifigan_22k" if own or from_voice else "speech_16k"
    stages.run_once("preprocess", lambda: preprocess(Path(own) if own else wavs, store, mel))
    stages.run("train", lambda: train(store, run, minutes, from_voice))
    split = held_out_split(store)
    stages.run("synthesize", lambda: synthesize(run, store, split, output))
    copy_targets(store, output, split)
    stages.run("evaluate", lambda: evaluate(run, store, split, home / "evaluation"))
    report(home, run, output, stages)
    if not own:
        print(f"\n  Voice: Allison Smith, CC-BY-SA-3.0; see {wavs / 'ATTRIBUTION.txt'} before sharing it.")


def parse_minutes(text: str) -> float:
    """DEMO_MINUTES as a number; exits with code 2 if it is not a positive one."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        refuse(f"DEMO_MINUTES={text}: give a number of minutes above 0")
    return minutes


def parse_start(text: str) -> bool:
    """DEMO_FROM: whether it is the voice that training starts with; exits with code 2 if it is neither choice."""
    if text not in ("voice", "scratch"):
        refuse(f"DEMO_FROM={text}: give voice or scratch")
    return text == "voice"


def refuse(message: str) -> NoReturn:
    """Exit with code 2 and one line."""
    print(f"demo: {message}", file=sys.stderr)
    raise SystemExit(2)


def folder_name(recordings: Path) -> str:
    """A name for the demo of these recordings, unique to their path, so that two demos do not share files."""
    path = str(recordings.resolve())
    return f"{recordings.resolve().name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"


class Stages:
    """Runs the stages and saves the seconds that each has taken, over all runs of the demo."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def run_once(self, name: str, work: Callable[[], None]) -> None:
        """Run the stage unless an earlier run of the demo has finished it."""
        if name in self.seconds:
            print(f"== {name}: already done")
        else:
            self.run(name, work)

    def run(self, name: str, work: Callable[[], None]) -> None:
        """Run the stage and save its time. Training times add up, also of interrupted runs."""
        print(f"== {name}", flush=True)
        before = self.seconds.get(name, 0.0) if name == "train" else 0.0
        started = time.monotonic()
        try:
            work()
        finally:
            if name == "train" or sys.exc_info()[0] is None:
                self.seconds[name] = before + time.monotonic() - started
                self._path.write_text(json.dumps(self.seconds))


def listen(folder: Path) -> None:
    """Let the package's voice speak sentences that it was not trained on, from the mels of their recordings."""
    recordings = folder / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    for sample in SAMPLES.glob("*-recording.ogg"):
        shutil.copy(sample, recordings / sample.name.replace("-recording", ""))
    run_or_exit([str(BIN / "vocoder-synthesize"), f"input={recordings}", f"output={folder}", "overwrite=true"])
    print(f"listen: {folder}/*.wav, beside {recordings}/*.ogg", flush=True)


def fetch(wavs: Path) -> None:
    script = Path(__file__).with_name("fetch_demo_corpus.py")
    run_or_exit([sys.executable, str(script), str(wavs)])


def preprocess(wavs: Path, store: Path, mel: str) -> None:
    shutil.rmtree(store, ignore_errors=True)  # complete, but from a run that was interrupted before it saved the time
    run_or_exit([str(BIN / "vocoder-preprocess"), f"input={wavs}", f"output={store}", f"mel={mel}"])


def train(store: Path, run: Path, minutes: float, from_voice: bool) -> None:
    settings = [f"data={store}", f"name={run.name}", f"runs={run.parent}"]
    settings += ["experiment=finetune", f"init_from={VOICE}"] if from_voice else ["experiment=demo"]
    run_or_exit([str(BIN / "vocoder-train"), *settings, f"training.length.minutes={minutes:g}"])


def synthesize(run: Path, store: Path, split: str, output: Path) -> None:
    settings = [f"model={run}", f"input={store}", f"split={split}", f"limit={UTTERANCES}", f"output={output}"]
    run_or_exit([str(BIN / "vocoder-synthesize"), *settings, "overwrite=true"])  # the model may have changed since


def evaluate(run: Path, store: Path, split: str, output: Path) -> None:
    settings = [f"model={run}", f"data={store}", f"split={split}", f"limit={UTTERANCES}", f"output={output}"]
    run_or_exit([str(BIN / "vocoder-evaluate"), *settings, "overwrite=true"])


def run_or_exit(arguments: list[str]) -> None:
    """Run a command, and exit with its code if it fails; it has printed the reason itself.

    Ctrl-C reaches the command as well, which may need time to save: so wait for it.
    """
    process = subprocess.Popen(arguments)
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            continue
    if code:
        print("demo: stopped; run the same command to resume", file=sys.stderr)
        raise SystemExit(code)


def held_out_split(store: Path) -> str:
    """ "test", or "dev" if the corpus is too small for a test split."""
    splits = json.loads((store / "store.json").read_text())["splits"]
    return "test" if splits["test"]["utterances"] else "dev"


def copy_targets(store: Path, output: Path, split: str) -> None:
    """Copy each original recording next to the utterance synthesised from its mel."""
    for line in (store / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        synthesized = output / f"{record['id']}.wav"
        if record["status"] == "kept" and record["split"] == split and synthesized.exists():
            source = Path(record["source"])
            shutil.copy(source, synthesized.with_name(f"{synthesized.stem}.target{source.suffix}"))


def report(home: Path, run: Path, output: Path, stages: Stages) -> None:
    """Print the results and where the files are."""
    import soundfile  # only the environment's Python has it, and only this function needs it

    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    bits = [(record["step"], record["bits/dev"]) for record in records if "bits/dev" in record]
    files = [path for path in output.rglob("*.wav") if not path.stem.endswith(".target")]
    speech = sum(soundfile.info(path).duration for path in files)
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    rows = [
        ("dev bits per sample, start", f"{bits[0][1]:.3f}"),
        (f"dev bits per sample, step {bits[-1][0]}", f"{bits[-1][1]:.3f}"),
        ("synthesis, × real time", f"{speech / stages.seconds['synthesize']:.3f}"),
        *((f"seconds: {name}", f"{seconds:.0f}") for name, seconds in stages.seconds.items()),
    ]
    print()
    for name, value in rows:
        print(f"  {name:34} {value:>9}")
    print(f"\n  wavs         {output}/ ({len(files)}, each NAME.wav beside its recording, NAME.target.*)")
    print(f"  report       {home / 'evaluation/report.html'} (open it in a browser)")
    print(f"  checkpoint   {newest}")
    print(f"  TensorBoard  {BIN / 'tensorboard'} --logdir {run / 'tensorboard'}")


if __name__ == "__main__":
    main()
