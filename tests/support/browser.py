"""Waiting for a page in a browser."""

import time
from typing import Any


def wait_until(page: Any, condition: str, seconds: float = 20.0) -> None:
    """Wait for a JavaScript expression to be true. Playwright's own way is refused by a page's security policy."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < deadline, f"never: {condition}"
        page.wait_for_timeout(20)
