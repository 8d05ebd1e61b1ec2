"""Copy synthesis: a recording to its mel-spectrogram, and the mel back to speech by a trained model.

Usage: python examples/copy_synthesis.py runs/voice recording.wav copy.wav
"""

import argparse
import time
from pathlib import Path

import soundfile

import vocoder


def main() -> None:
    parser = argparse.ArgumentParser(description="Copy a recording by way of its mel-spectrogram.")
    parser.add_argument("model", type=Path, help="a run's folder, or one of its checkpoints")
    parser.add_argument("recording", type=Path, help="wav, flac, ogg or mp3")
    parser.add_argument("copy", type=Path, help="the wav to write")
    paths = parser.parse_args()

    model = vocoder.load(paths.model)
    channels, sample_rate = soundfile.read(paths.recording, dtype="float32", always_2d=True)  # [samples, channels]
    mel = model.mel(channels.mean(axis=1), sample_rate)  # [n_mels, frames]

    begin = time.perf_counter()
    waveform = model.synthesize(mel, seed=0)  # [frames * hop_length]
    elapsed = time.perf_counter() - begin

    soundfile.write(paths.copy, waveform, model.sample_rate)
    duration = len(waveform) / model.sample_rate
    print(f"{duration:.2f} s of speech in {elapsed:.2f} s: real-time factor {elapsed / duration:.2f}")


if __name__ == "__main__":
    main()
