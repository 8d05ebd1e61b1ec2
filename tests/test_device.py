"""The device, autocast, and the threads of torch and OpenMP."""

import os
import subprocess
import sys

import pytest
import torch

from vocoder.device import autocast, one_torch_thread, pick_device, to_autocast_dtype, without_autocast
from vocoder.errors import UserError

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with two GPUs, as far as torch can see."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    return monkeypatch


def test_auto_is_cuda_if_there_is_a_gpu_and_the_cpu_otherwise(machine: pytest.MonkeyPatch) -> None:
    assert pick_device("auto") == torch.device("cuda")
    machine.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU


def test_devices_are_picked_by_name(machine: pytest.MonkeyPatch) -> None:
    for name in ("cpu", "cuda", "cuda:1"):
        assert pick_device(name) == torch.device(name)


@pytest.mark.parametrize("name", ["", "gpu", "meta", "mps", "CUDA", "cuda:", "cuda:-1", "cpu:0"])
def test_an_unknown_device_is_refused_with_the_valid_names(name: str) -> None:
    with pytest.raises(UserError, match=f"^device={name}: unknown; use auto, cpu, cuda or cuda:N$"):
        pick_device(name)


def test_a_gpu_that_this_machine_lacks_is_refused_with_the_number_it_has(machine: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        UserError, match=r"^device=cuda:2: torch finds 2 CUDA devices here; use another, or device=cpu$"
    ):
        pick_device("cuda:2")
    machine.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=r"^device=cuda: torch finds no CUDA devices"):
        pick_device("cuda")


def test_autocast_runs_products_in_its_dtype_and_can_be_suspended() -> None:
    x = torch.ones(2, 2)
    with autocast(torch.bfloat16, CPU):
        assert (x @ x).dtype == to_autocast_dtype(x).dtype == torch.bfloat16
        with without_autocast(CPU):
            assert (x @ x).dtype == to_autocast_dtype(x).dtype == torch.float32
    with autocast(torch.float32, CPU):
        assert (x @ x).dtype == to_autocast_dtype(x).dtype == torch.float32


def test_autocast_has_no_effect_on_meta() -> None:
    x = torch.ones(2, 2, device=META)
    with autocast(torch.bfloat16, META), without_autocast(META):
        assert (x @ x).dtype == to_autocast_dtype(x).dtype == torch.float32


@one_torch_thread()
def fail_on_one_thread() -> None:
    assert torch.get_num_threads() == 1
    raise ZeroDivisionError


def test_the_thread_count_is_restored_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError):
            fail_on_one_thread()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "10000"), ({"OMP_WAIT_POLICY": "active"}, "None"), ({"GOMP_SPINCOUNT": "5"}, "5")],
)
def test_idle_threads_spin_briefly_unless_the_user_chose_how_they_wait(given: dict[str, str], expected: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")} | given
    command = [
        sys.executable,
        "-c",
        "import vocoder, os, sys; print(os.environ.get('GOMP_SPINCOUNT'), 'torch' in sys.modules)",
    ]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert output.split() == [expected, "False"]
