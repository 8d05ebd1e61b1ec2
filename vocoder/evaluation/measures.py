"""What is measured: for each number its title, unit, direction and source."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """A number that is measured of an utterance as a system renders it.

    Attributes:
        name: key in results.json and column of utterances.csv.
        title: heading of a table.
        unit: empty if it has none.
        better: whether a higher or a lower value is better, or the one nearest to zero.
        digits: after the decimal point, in tables.
        source: the paper or standard, and the package that computes it, if it is not ours.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower", "zero"]
    digits: int
    source: str

    def is_better(self, a: float, b: float) -> bool:
        """Whether value `a` is better than value `b`."""
        if self.better == "zero":
            return abs(a) < abs(b)
        return a > b if self.better == "higher" else a < b


MEASURES = (
    Measure("bits", "likelihood", "bits per sample", "lower", 3, "exact likelihood on the 16-bit grid"),
    Measure("log_mel", "log-mel L1", "dB", "lower", 2, "Kong et al. 2020 (HiFi-GAN), in dB"),
    Measure("stft", "multi-resolution STFT", "", "lower", 3, "Yamamoto et al. 2020 (Parallel WaveGAN)"),
    Measure("convergence", "spectral convergence", "", "lower", 3, "Arık et al. 2018"),
    Measure("mcd", "mel-cepstral distortion", "dB", "lower", 2, "Kubichek 1993; WORLD's CheapTrick (pyworld)"),
    Measure("f0_rmse", "F0 RMSE", "cents", "lower", 1, "without gross errors; WORLD's DIO and StoneMask (pyworld)"),
    Measure(
        "voicing_error", "voicing error", "%", "lower", 1, "Chu and Alwan 2009; WORLD's DIO and StoneMask (pyworld)"
    ),
    Measure("voicing_f1", "voicing F1", "", "higher", 3, "WORLD's DIO and StoneMask (pyworld)"),
    Measure(
        "gross_pitch_error",
        "gross pitch errors",
        "%",
        "lower",
        1,
        "above 20 %, Chu and Alwan 2009; WORLD's DIO and StoneMask (pyworld)",
    ),
    Measure("pesq_wb", "PESQ wide-band", "MOS", "higher", 2, "ITU-T P.862.2 (pesq)"),
    Measure("pesq_nb", "PESQ narrow-band", "MOS", "higher", 2, "ITU-T P.862.1 (pesq)"),
    Measure("stoi", "STOI", "", "higher", 3, "Taal et al. 2011 (pystoi)"),
    Measure("estoi", "ESTOI", "", "higher", 3, "Jensen and Taal 2016 (pystoi)"),
    Measure("mos", "DistillMOS", "MOS", "higher", 2, "Stahl and Gamper 2025 (distillmos)"),
    Measure("noise_floor", "level in pauses", "dBFS", "lower", 1, "RMS in the pauses of the original"),
    Measure("noise_excess", "level in pauses against the original's", "dB", "zero", 1, "difference of the two"),
    Measure("clicks", "clicks", "per minute", "lower", 1, "detector"),
    Measure("clipping", "clipped", "ms per minute", "lower", 1, "detector"),
    Measure("collapse", "collapse", "s per minute", "lower", 2, "detector"),
    Measure("level_drift", "level drift", "dB", "zero", 2, "detector"),
    Measure("dc", "DC offset", "% of full scale", "zero", 3, "mean"),
    Measure("flac_bits", "FLAC", "bits per sample", "lower", 3, "libsndfile's FLAC, 16 bits"),
)


def measure_named(name: str) -> Measure:
    """The measure of that name. Raises KeyError if there is none."""
    return next(measure for measure in MEASURES if measure.name == name)
