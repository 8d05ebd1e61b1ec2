"""The WaveNet: its receptive field, its dilations, and an independent implementation that it equals."""

import math

import pytest
import torch
from support.small_model import changed
from torch import Tensor
from torch.nn import functional as F

from vocoder.errors import UserError
from vocoder.model.interpolation import PiecewiseLinear, hold_knot
from vocoder.model.wavenet import WaveNet, dilations


def knot_per_sample(channels: Tensor) -> PiecewiseLinear:
    """Channels [B, T, C] as one frame with a knot at every sample."""
    return PiecewiseLinear(channels[:, None], hold_knot(torch.arange(channels.shape[1])))


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize(("layers", "stacks"), [(1, 1), (4, 1), (6, 2), (6, 3)])
def test_an_output_depends_on_exactly_the_receptive_field(layers: int, stacks: int, kernel_size: int) -> None:
    torch.manual_seed(0)
    sizes = {"kernel_size": kernel_size, "residual_channels": 8, "gate_channels": 8, "skip_channels": 8}
    wavenet = WaveNet(1, 0, 3, layers=layers, stacks=stacks, **sizes)
    field = wavenet.receptive_field
    assert field == 1 + (kernel_size - 1) * stacks * (2 ** (layers // stacks) - 1)

    inputs = torch.randn(16, field + 20, 1)  # sixteen, lest a rectifier hides a faint tap
    conditioning = knot_per_sample(torch.zeros(16, field + 20, 0))
    before = wavenet(inputs, conditioning)
    assert before.shape == (16, 21, 3)
    perturbed = inputs.clone()
    perturbed[:, 10] += 5
    times = changed(before.transpose(1, 2), wavenet(perturbed, conditioning).transpose(1, 2))
    first, last = max(10 - (field - 1), 0), 10  # output t sees inputs t … t + field - 1
    assert (times[0], times[-1]) == (first, last)


def test_dilations_double_within_a_stack_and_start_over_in_the_next() -> None:
    assert dilations(6, 2) == [1, 2, 4, 1, 2, 4]


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_a_wavenet_equals_one_of_plain_dilated_convolutions(kernel_size: int) -> None:
    torch.manual_seed(4)
    sizes = {"residual_channels": 8, "gate_channels": 12, "skip_channels": 10}
    wavenet = WaveNet(2, 5, 7, layers=6, stacks=2, kernel_size=kernel_size, **sizes)
    length = wavenet.receptive_field + 30
    inputs, conditioning = torch.randn(3, length, 2), torch.randn(3, length, 5)
    twin = convolutional_twin(wavenet, inputs.transpose(1, 2), conditioning.transpose(1, 2))
    found = wavenet(inputs, knot_per_sample(conditioning))
    torch.testing.assert_close(found, twin.transpose(1, 2)[:, wavenet.receptive_field - 1 :], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def convolutional_twin(wavenet: WaveNet, inputs: Tensor, conditioning: Tensor) -> Tensor:
    """The same network on [B, channels, T] with zero-padded dilated convolutions, as the paper draws it."""
    state = wavenet.state_dict()
    h = F.conv1d(inputs, state["input.weight"][..., None], state["input.bias"])
    skips = torch.zeros(())
    for index, dilation in enumerate([1, 2, 4, 1, 2, 4]):
        weight, bias = state[f"layers.{index}.gate.weight"], state[f"layers.{index}.gate.bias"]
        taps = weight[:, : weight.shape[1] - conditioning.shape[1]]
        kernel = taps.unflatten(1, (-1, h.shape[1])).transpose(1, 2)  # [G, R, K]
        padded = F.pad(h, ((kernel.shape[2] - 1) * dilation, 0))
        both = F.conv1d(padded, kernel, bias, dilation=dilation)
        both = both + F.conv1d(conditioning, weight[:, -conditioning.shape[1] :, None])
        filter, gate = both.chunk(2, 1)
        gated = torch.tanh(filter) * torch.sigmoid(gate)
        out = F.conv1d(gated, state[f"layers.{index}.out.weight"][..., None], state[f"layers.{index}.out.bias"])
        h, skip = (h + out[:, : h.shape[1]]) / math.sqrt(2), out[:, h.shape[1] :]
        skips = skips + skip
    hidden = F.conv1d(F.relu(skips / math.sqrt(6)), state["hidden.weight"][..., None], state["hidden.bias"])
    return F.conv1d(F.relu(hidden), state["output.weight"][..., None], state["output.bias"])


def test_a_step_takes_the_inputs_of_its_first_sample_and_of_those_before_it() -> None:
    sizes = {"layers": 1, "stacks": 1, "residual_channels": 4, "gate_channels": 4, "skip_channels": 4}
    wavenet = WaveNet(2, 0, 3, kernel_size=2, samples_per_step=3, head_context=2, **sizes)
    assert wavenet.receptive_field == 6  # two steps of three samples
    inputs = torch.arange(2 * (5 + 6), dtype=torch.float32).reshape(1, 11, 2)  # five of history, then two steps
    steps = wavenet.step_inputs(inputs)
    assert steps.shape == (1, 3, 6)
    # The first predicted sample is input 5: its step ends there, and the next one at input 8.
    assert steps[0, :, -1].tolist() == [2 * 2 + 1, 2 * 5 + 1, 2 * 8 + 1]
    heard = wavenet.head_inputs(inputs)
    assert heard is not None
    assert heard[0, :, 0].tolist() == [2 * t for t in range(4, 10)]  # the older of two, of each predicted sample
    assert heard[0, :, 3].tolist() == [2 * t + 1 for t in range(5, 11)]


def test_a_head_that_hears_further_back_than_the_layers_is_refused() -> None:
    sizes = {"layers": 1, "stacks": 1, "residual_channels": 4, "gate_channels": 4, "skip_channels": 4}
    with pytest.raises(UserError, match="head_context=7: the layers reach 6 samples back"):
        WaveNet(1, 0, 3, kernel_size=2, samples_per_step=3, head_context=7, **sizes)
