"""Signals: recorded, turned into exit codes, and used to stop long computations."""

import os
import signal

import pytest

from vocoder.training.interrupts import Interrupted, Interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_is_recorded_and_gives_the_exit_code(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert interrupts.exit_code == 0
        os.kill(os.getpid(), number)
        assert interrupts.signal == number
        assert interrupts.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_raises_keyboard_interrupt() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_sigterm_has_no_effect() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert interrupts.exit_code == 143


def test_sigusr1_counts_as_sigterm_in_the_exit_code() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGUSR1)
    assert interrupts.exit_code == 143


def test_items_end_and_checks_raise_once_a_signal_has_come() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        taken = []
        for item in interrupts.until_signal(range(5)):
            taken.append(item)
            if item == 2:
                os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            interrupts.check("any", "arguments")
    assert taken == [0, 1, 2]


@pytest.mark.parametrize("signalled", [True, False])
def test_a_process_about_to_exit_ignores_further_signals(signalled: bool) -> None:
    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        with Interrupts(ignore_afterwards=True):
            if signalled:
                os.kill(os.getpid(), signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            assert signal.getsignal(number) == (signal.SIG_IGN if signalled else before[number])
        assert signal.getsignal(signal.SIGINT) == before[signal.SIGINT]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
