"""The filter that a mel implies: linear prediction from its envelope.

B batch, F frames, H hop length, T = F H samples, K order, U updates of the filter in a frame.

    log-mel -> magnitude -> power spectrum -> autocorrelation -> reflection coefficients and gain of each frame
            -> interpolated to U a frame -> coefficients a [B, T, K] and gain g [B, T]

    p[t] = sum over k of a_k[t] x[t - k]      the prediction: what the vocal tract determines
    e[t] = (x[t] - p[t]) / g[t]               the excitation: noise and pulses of about unit power

The source-filter view of speech (Makhoul 1975) inside a WaveNet, as in LP-WaveNet (Hwang et al. 2018) and LPCNet
(Valin and Skoglund 2019), but with no other side information than the mel.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vocoder.device import without_autocast
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec, energies, hann_window, input_response, mel_filterbank
from vocoder.kernels import levinson as kernels
from vocoder.model.interpolation import LinearUpsample, interpolate

WHITE_NOISE = 1e-7  # of the power, added to it: no valley is deeper than 70 dB below the mean
LARGEST_REFLECTION = 1 - 1e-5  # a margin larger than float32 rounding, so that filters stay stable
LAG_WINDOW_HZ = 20.0  # Gaussian smoothing of the spectrum, against resonances narrower than any formant
SQUARED_MEAN_OF_MAGNITUDE = math.pi / 4  # over the mean of the square, in a spectrum of noise (Rayleigh)
QUIETEST = 1e-3  # of the floor that a mel adds: below it, float32 has nothing left of a band's energy
GAIN_FLOOR = 1e-5  # a third of a 16-bit step, so that the excitation of digital silence stays finite


@dataclass
class Prediction:
    """p and g of T samples x = p + g e, whose excitation e is what remains to be predicted."""

    mean: Tensor  # p [B, T]
    log_gain: Tensor  # log g [B, T]

    def __getitem__(self, time: slice) -> "Prediction":
        return Prediction(self.mean[:, time], self.log_gain[:, time])

    def excitation(self, x: Tensor) -> Tensor:
        """e = (x - p) / g of samples x [B, T]."""
        return (x - self.mean) * (-self.log_gain).exp()

    def clip_compensated(self, x: Tensor) -> Tensor:
        """Generated samples x [B, T], with the unclipped prediction where full scale clipped it.

        A clipped sample only says that the signal reached full scale. Feeding clipped samples back can cause overflow
        oscillation, a sustained howl, even in a stable filter.
        """
        return torch.where(x == self.mean.clamp(-1, 1), self.mean, x)


@dataclass
class Predictor:
    """The filter at each of T samples."""

    weights: Tensor  # [B, T, K], oldest sample first: a_K … a_1, in the order in which the past lies
    log_gain: Tensor  # log g [B, T]

    @property
    def coefficients(self) -> Tensor:
        """a [B, T, K]: a_k weighs the sample k before."""
        return self.weights.flip(-1)

    def __getitem__(self, time: slice) -> "Predictor":
        return Predictor(self.weights[:, time], self.log_gain[:, time])

    def predict(self, past: Tensor) -> Prediction:
        """From the K samples before each [B, T, K]."""
        return Prediction((past * self.weights).sum(-1), self.log_gain)


def default_order(sample_rate: int) -> int:
    """Two coefficients for each formant, one formant a kilohertz, and half as many again for nasals and source."""
    return round(1.5 * sample_rate / 1000)


class LinearPrediction(nn.Module):
    """Filters from log-mels. It learns nothing and has nothing to keep in a checkpoint."""

    context_frames = 1  # interpolation reaches the neighbouring frames
    inverse: Tensor
    lag_window: Tensor
    response: Tensor

    def __init__(self, spec: MelSpec, order: int, updates: int) -> None:
        super().__init__()
        if not 1 <= order < spec.n_fft // 2:
            raise UserError(f"model.linear_prediction.order={order}: must lie between 1 and {spec.n_fft // 2 - 1}")
        if not 1 <= updates <= spec.hop_length:
            raise UserError(f"model.linear_prediction.updates={updates}: must lie between 1 and {spec.hop_length}")
        self.spec, self.order, self.updates = spec, order, updates
        self.interpolate = LinearUpsample(updates, spec.frame_centre)
        self.window_power = float(hann_window(spec).double().square().sum())
        self.register_buffer("inverse", inverse_filterbank(spec), persistent=False)
        lags = 2 * math.pi * LAG_WINDOW_HZ / spec.sample_rate * torch.arange(order + 1, dtype=torch.float64)
        window = (-0.5 * lags.square()).exp()
        window[0] = 1 + WHITE_NOISE
        self.register_buffer("lag_window", window, persistent=False)
        self.register_buffer("response", _covered_response(spec), persistent=False)

    def predict(self, waves: Tensor, filters: Tensor, first: int) -> Prediction:
        """The prediction of samples `first` and later, each from the K true samples before it.

        Args:
            waves: [B, F H].
            filters: of their frames [B, F, U, K + 1].
            first: K or more.
        """
        past = waves[:, first - self.order : -1].unfold(1, self.order, 1)  # [B, T - first, K]
        return self.predictor(filters)[first:].predict(past)

    def predictor(self, filters: Tensor) -> Predictor:
        """filters [B, F, U, K + 1] -> the filter at each of F H samples: sample t of a frame has number t U // H."""
        hop = self.spec.hop_length
        update = torch.arange(hop, device=filters.device) * self.updates // hop
        samples = filters[:, :, update].flatten(1, 2)  # [B, F H, K + 1]
        return Predictor(samples[..., :-1], samples[..., -1])

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, n_mels, F + 2], any finite numbers -> weights and log-gain [B, F, U, K + 1] of stable filters."""
        reflection, log_gain = self.analyse(mel)
        with without_autocast(mel.device):
            reflection = reflection.clamp(-LARGEST_REFLECTION, LARGEST_REFLECTION)
            upsample = self.interpolate
            knots = upsample(torch.cat((reflection, log_gain[..., None]), 2))
            filters = interpolate(knots, upsample.interpolation)  # [B, F U, K + 1]
        weights = step_up(filters[..., :-1]).flip(-1)  # in float64: at order 100 float32 made filters unstable
        return torch.cat((weights, filters[..., -1:]), 2).float().unflatten(1, (-1, self.updates))

    def analyse(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """mel [B, n_mels, F] -> reflection coefficients [B, F, K] within (-1, 1), log gain [B, F]; in float64."""
        power = self.spectrum(mel).square()  # [B, F, n_fft/2 + 1]
        autocorrelation = torch.fft.irfft(power)[..., : self.order + 1] * self.lag_window
        reflection, error = levinson(autocorrelation)
        # A periodogram's mean is the variance times the window's power; a mel averages magnitudes, not their squares.
        averaged = SQUARED_MEAN_OF_MAGNITUDE if self.spec.power == 1 else 1.0
        variance = error / (self.window_power * averaged)
        return reflection, 0.5 * (variance + GAIN_FLOOR**2).log()

    def spectrum(self, mel: Tensor) -> Tensor:
        """A smooth magnitude spectrum [B, F, n_fft/2 + 1] above 0 that fits log-mel [B, n_mels, F].

        It is that of the wave itself: what the mel's pre-emphasis and high-pass took away is put back.
        """
        mel = mel.double().clamp(self.spec.log_minimum, self.spec.log_maximum)  # so that nothing overflows
        bands = energies(mel, self.spec).clamp(min=QUIETEST * self.spec.log_floor)
        level = self.inverse @ bands  # of each bin, as the bands weigh it
        return (level ** (1 / self.spec.power)).transpose(1, 2) / self.response


def inverse_filterbank(spec: MelSpec) -> Tensor:
    """Float64 [n_fft/2 + 1, n_mels], nowhere negative: the mean level in each band, interpolated between bands.

    Bins that no band covers take the nearest band's level.
    """
    filters = mel_filterbank(spec).double()
    area = filters.sum(1)  # [n_mels]; 0 where a band is narrower than a bin and misses them all
    has_bins = area > 0
    shape = filters / filters.amax(1, keepdim=True).clamp(min=1e-30)  # peaks of 1, so that neighbours weigh alike
    bins = torch.arange(filters.shape[1], dtype=torch.float64)
    centres = (filters @ bins) / area.clamp(min=1e-30)
    nearest = torch.where(has_bins, (bins[:, None] - centres).abs(), torch.inf).argmin(1)
    uncovered = shape.sum(0) == 0
    shape[nearest[uncovered], bins.long()[uncovered]] = 1.0
    return ((shape / shape.sum(0)) / area.clamp(min=1e-30)[:, None] * has_bins[:, None]).T.contiguous()


def _covered_response(spec: MelSpec) -> Tensor:
    """`input_response` [n_fft/2 + 1] in float64; bins that no band covers take that of the nearest that one does."""
    covered = mel_filterbank(spec).sum(0).nonzero()
    bins = torch.arange(spec.n_fft // 2 + 1).clamp(int(covered.min()), int(covered.max()))
    return input_response(spec).double()[bins]


def levinson(autocorrelation: Tensor) -> tuple[Tensor, Tensor]:
    """Reflection coefficients [..., K] and error power [...] from float64 autocorrelation [..., K + 1].

    On a CPU by compiled loops, otherwise in plain torch.
    """
    if autocorrelation.device.type != "cpu":
        return levinson_ref(autocorrelation)
    rows = autocorrelation.flatten(0, -2).contiguous()
    reflection, error = torch.empty_like(rows[:, 1:]), torch.empty_like(rows[:, 0])
    kernels.levinson(rows.numpy(), reflection.numpy(), error.numpy())
    return reflection.view(*autocorrelation.shape[:-1], -1), error.view(autocorrelation.shape[:-1])


def step_up(reflection: Tensor) -> Tensor:
    """Predictor coefficients [..., K] from float64 reflection coefficients [..., K]: stable where all lie in (-1, 1).

    On a CPU by compiled loops, otherwise in plain torch.
    """
    if reflection.device.type != "cpu":
        return step_up_ref(reflection)
    rows = reflection.flatten(0, -2).contiguous()
    coefficients = torch.empty_like(rows)
    kernels.step_up(rows.numpy(), coefficients.numpy())
    return coefficients.view_as(reflection)


def levinson_ref(autocorrelation: Tensor) -> tuple[Tensor, Tensor]:
    """`levinson` in plain torch: the recursion of Levinson and Durbin."""
    r = autocorrelation
    error = r[..., 0]
    a = r[..., :0]
    reflection = []
    for i in range(1, r.shape[-1]):
        k = (r[..., i] - (a * r[..., 1:i].flip(-1)).sum(-1)) / error
        a = torch.cat((a - k[..., None] * a.flip(-1), k[..., None]), -1)
        error = error * (1 - k.square())
        reflection.append(k)
    return torch.stack(reflection, -1), error


def step_up_ref(reflection: Tensor) -> Tensor:
    """`step_up` in plain torch."""
    a = reflection[..., :0]
    for k in reflection.split(1, -1):
        a = torch.cat((a - k * a.flip(-1), k), -1)
    return a
