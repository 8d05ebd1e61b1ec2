"""The matrix product against float64, and its independence of the other lanes."""

import numba
import numpy as np
import pytest
import torch
from numba import njit

from vocoder.kernels import matmul, processor
from vocoder.kernels.amx import product_amx, transpose
from vocoder.kernels.generate import write_channels as write_channels_jit
from vocoder.kernels.matmul import add_product as add_product_jit

RNG = np.random.default_rng(0)
needs_amx = pytest.mark.skipif(not processor.HAS_AMX, reason="this process may not use matrix units")
needs_bf16 = pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")


@njit
def add_product(lanes, y, weights, w_index, x, x_index):  # type: ignore[no-untyped-def]
    add_product_jit(lanes, y, weights, w_index, x, x_index)


@njit
def write_channels(lanes, target, slot, source):  # type: ignore[no-untyped-def]
    write_channels_jit(lanes, target, slot, source)


@pytest.mark.parametrize("channels", [1, 2, 3, 64, 70, 384])
@pytest.mark.parametrize("rows", [1, 30, 64, 100, 256])
def test_products_agree_with_float64(rows: int, channels: int) -> None:
    weights, x = RNG.standard_normal((2, rows, channels)), RNG.standard_normal((3, 7, channels)).astype(np.float32)
    height = -(-rows // matmul.TILE) * matmul.TILE
    packed = matmul.pack_weights(weights, height, channels)
    y = np.zeros((7, height), np.float32)
    add_product(7, y, packed, 1, x, 2)
    expected = x[2].astype(float) @ weights[1].astype(np.float32).astype(float).T
    bound = np.abs(x[2]) @ np.abs(weights[1]).T * channels * 2.0**-24
    assert np.abs(y[:, :rows] - expected).max() <= bound.max() + 1e-30
    assert not y[:, rows:].any()


@pytest.mark.parametrize("bf16", [False, pytest.param(True, marks=needs_bf16)])
def test_a_lane_is_the_same_to_the_bit_whatever_the_other_lanes_and_their_number(bf16: bool) -> None:
    lanes, channels, rows = 23, 128, 2 * matmul.TILE
    weights = RNG.standard_normal((1, rows, channels)).astype(np.float32)
    x = RNG.standard_normal((1, lanes, channels)).astype(np.float32)
    packed = matmul.pack_weights_bf16(weights, rows, channels) if bf16 else matmul.pack_weights(weights, rows, channels)
    inputs = np.zeros((1, lanes, channels // 2), np.uint32) if bf16 else np.zeros_like(x)
    write_channels(lanes, inputs, 0, x[0])
    initial = RNG.standard_normal((lanes, rows)).astype(np.float32)
    alone = []
    for lane in range(lanes):
        y = initial[lane : lane + 1].copy()
        add_product(1, y, packed, 0, inputs[:, lane : lane + 1].copy(), 0)
        alone.append(y[0])
    for first in range(3):
        for count in range(1, lanes - first + 1):
            y = initial[first : first + count].copy()
            add_product(count, y, packed, 0, inputs[:, first : first + count].copy(), 0)
            assert np.array_equal(y, alone[first : first + count])


@needs_bf16
def test_bfloat16_products_agree_with_float64_products_of_rounded_inputs() -> None:
    rows, channels, lanes = matmul.TILE, 96, 5
    weights = RNG.standard_normal((1, rows, channels)).astype(np.float32)
    x = RNG.standard_normal((lanes, channels)).astype(np.float32)
    inputs, y = np.zeros((1, lanes, channels // 2), np.uint32), np.zeros((lanes, rows), np.float32)
    write_channels(lanes, inputs, 0, x)
    add_product(lanes, y, matmul.pack_weights_bf16(weights, rows, channels), 0, inputs, 0)
    w, v = (torch.from_numpy(array).bfloat16().double() for array in (weights[0], x))
    np.testing.assert_allclose(y, (v @ w.T).numpy(), rtol=0, atol=2e-5)


@needs_amx
@pytest.mark.parametrize("pairs", [1, 7, 16, 23, 64])
@pytest.mark.parametrize("lanes", [1, 15, 16, 17, 33, 64, 100])
def test_matrix_units_agree_with_float64_and_write_no_further(lanes: int, pairs: int) -> None:
    rows, channels = 2 * matmul.TILE, 2 * pairs
    weights = RNG.standard_normal((3, rows, channels)).astype(np.float32)
    x = RNG.standard_normal((2, lanes, channels)).astype(np.float32)
    inputs = np.zeros((2, lanes, pairs), np.uint32)
    for slot in range(2):
        write_channels(lanes, inputs, slot, x[slot])
    y = np.zeros((lanes + 1, rows), np.float32)
    add_product(lanes, y, matmul.pack_weights_bf16(weights, rows, channels), 2, inputs, 1)
    w, v = (torch.from_numpy(array).bfloat16().double() for array in (weights[2], x[1]))
    bound = 2.0**-23 * channels * (v.abs() @ w.abs().T).max().item()
    np.testing.assert_allclose(y[:lanes], (v @ w.T).numpy(), rtol=0, atol=bound)
    assert not y[lanes:].any()


@pytest.mark.parametrize("has_amx", [False, True])
def test_matrix_units_get_contiguous_pairs_of_bfloat16_and_vectors_everything_else(
    has_amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matmul, "HAS_AMX", has_amx)
    pairs = product_amx if has_amx else matmul._product_bf16
    assert matmul._product_for(numba.uint32, contiguous=True) is pairs
    assert matmul._product_for(numba.uint32, contiguous=False) is matmul._product_bf16
    for contiguous in (False, True):
        assert matmul._product_for(numba.float32, contiguous) is matmul._product_float32


@needs_amx
@pytest.mark.parametrize(("dtype", "on_tiles"), [(np.uint32, True), (np.float32, False)])
def test_compiled_products_of_bfloat16_multiply_tiles(dtype: type, on_tiles: bool) -> None:
    @njit
    def product(y, weights, x):  # type: ignore[no-untyped-def]
        add_product_jit(3, y, weights, 0, x, 0)

    x, weights = np.zeros((1, 3, 16), dtype), np.zeros((1, 1, 16, matmul.TILE), dtype)
    product(np.zeros((3, matmul.TILE), np.float32), weights, x)
    assert any("tdpbf16ps" in assembly for assembly in product.inspect_asm().values()) is on_tiles


def test_a_transposed_block_keeps_every_value() -> None:
    source = RNG.integers(0, 2**32, (40, 35), np.uint32)
    target = np.zeros((35, 40), np.uint32)
    njit(lambda source, target: transpose(source, target))(source, target)
    assert np.array_equal(target[:32, :32], source[:32, :32].T)
    assert not target[32:].any()
    assert not target[:, 32:].any()
