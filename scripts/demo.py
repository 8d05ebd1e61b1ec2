"""The whole job in one command: real speech, a store, a trained model, synthesised utterances.

    python scripts/demo.py      (make demo)

DEMO_MINUTES   of training, 10 by default; a larger number on a finished demo trains on
WAVS           a folder of your own recordings, instead of the demo corpus
DEMO           where all of it goes, "demo" by default

Each stage runs once: started again after an interruption, the demo goes on where it was.
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

UTTERANCES = 5
BIN = Path(sys.executable).parent


def main() -> None:
    minutes = minutes_of(os.environ.get("DEMO_MINUTES") or "10")
    own = os.environ.get("WAVS")
    home = Path(os.environ.get("DEMO") or "demo") / (name_of(Path(own)) if own else "allison")
    home.mkdir(parents=True, exist_ok=True)
    stages = Stages(home / "seconds.json")
    wavs, store, run, output = Path(own) if own else home / "wavs", home / "store", home / "runs", home / "synthesized"
    if not own:
        stages.once("fetch", lambda: fetch(wavs))
    mel = "speech_16k" if not own else "hifigan_22k"
    stages.once("preprocess", lambda: command("preprocess", f"input={wavs}", f"output={store}", f"mel={mel}"))
    stages.timed(
        "train",
        lambda: command(
            "train",
            f"data={store}",
            "name=demo",
            f"runs={run}",
            "experiment=demo",
            f"training.length.minutes={minutes:g}",
        ),
    )
    split = held_out_split(store)
    stages.timed(
        "synthesize",
        lambda: command(
            "synthesize",
            f"model={run / 'demo'}",
            f"input={store}",
            f"split={split}",
            f"limit={UTTERANCES}",
            f"output={output}",
            "overwrite=true",  # the network may have trained on since
        ),
    )
    keep_targets(store, wavs, output, split)
    report(home, run / "demo", output, stages, own is None)


def minutes_of(text: str) -> float:
    """DEMO_MINUTES as a number."""
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        print(f"demo: DEMO_MINUTES={text}: give a number of minutes above 0", file=sys.stderr)
        raise SystemExit(2)
    return minutes


def name_of(recordings: Path) -> str:
    """Another folder is another demo, so that neither goes on with the other's files."""
    path = str(recordings.resolve())
    return f"{recordings.resolve().name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"


class Stages:
    """Seconds that each stage has taken, over all runs of the demo, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}

    def once(self, name: str, work: Callable[[], None]) -> None:
        """Do `work` unless it was finished before."""
        if name in self.seconds:
            print(f"== {name}: done before")
        else:
            self.timed(name, work)

    def timed(self, name: str, work: Callable[[], None]) -> None:
        """Do `work` and note how long it took; training adds up, the rest replaces."""
        print(f"== {name}", flush=True)
        before = self.seconds.get(name, 0.0) if name == "train" else 0.0
        started = time.monotonic()
        try:
            work()
        finally:
            if name == "train" or sys.exc_info()[0] is None:
                self.seconds[name] = before + time.monotonic() - started
                self._path.write_text(json.dumps(self.seconds))


def fetch(wavs: Path) -> None:
    script = Path(__file__).with_name("fetch_demo_corpus.py")
    run_or_exit([sys.executable, str(script), str(wavs)])


def command(name: str, *overrides: str) -> None:
    if name == "preprocess":  # an unfinished store cannot exist, but a finished one whose time was not noted can
        shutil.rmtree(overrides[1].removeprefix("output="), ignore_errors=True)
    run_or_exit([str(BIN / f"vocoder-{name}"), *overrides])


def run_or_exit(arguments: list[str]) -> None:
    """Run a stage; its own message is enough where it fails. Ctrl-C reaches it too, and it may save first."""
    process = subprocess.Popen(arguments)
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            continue
    if code:
        print("demo: stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(code)


def held_out_split(store: Path) -> str:
    """test, or dev where the corpus is too small to have one."""
    splits = json.loads((store / "store.json").read_text())["splits"]
    return "test" if splits["test"]["utterances"] else "dev"


def keep_targets(store: Path, wavs: Path, output: Path, split: str) -> None:
    """Put the recordings beside what was synthesised from their mels."""
    for line in (store / "manifest.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        synthesized = output / f"{record['id']}.wav"
        if record["status"] == "kept" and record["split"] == split and synthesized.exists():
            source = Path(record["source"])
            shutil.copy(source, synthesized.with_name(f"{synthesized.stem}.target{source.suffix}"))


def report(home: Path, run: Path, output: Path, stages: Stages, is_allison: bool) -> None:
    """The table at the end."""
    import soundfile  # only the environment's Python has it, and only this needs it

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
    print(f"\n  wavs         {output}/ ({len(files)}, each beside its .target recording)")
    print(f"  checkpoint   {newest}")
    print(f"  TensorBoard  {BIN / 'tensorboard'} --logdir {run / 'tensorboard'}")
    if is_allison:
        print(f"\n  Voice: Allison Smith, CC-BY-SA-3.0; see {home / 'wavs' / 'ATTRIBUTION.txt'} before sharing it.")


if __name__ == "__main__":
    main()
