"""Reports of an example evaluation, and a browser to open them in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.example_evaluation import example_evaluation

from vocoder.evaluation.results import Evaluation
from vocoder.report import write_report

FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--mute-audio"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    """The folder of an evaluation, with its wavs. Read only."""
    folder = tmp_path_factory.mktemp("evaluation")
    return folder, example_evaluation(folder)


@pytest.fixture(scope="session")
def report(example: tuple[Path, Evaluation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything inside, alone in its folder."""
    written = write_report(*example)
    return shutil.move(written, tmp_path_factory.mktemp("alone") / "report.html")


@pytest.fixture(scope="session")
def report_beside(example: tuple[Path, Evaluation], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with nothing inside, in the folder of its wavs."""
    folder = tmp_path_factory.mktemp("a folder #1 100%") / "evaluation"  # a path that an address must quote
    shutil.copytree(example[0], folder)
    return write_report(folder, example[1], embed_limit=0)


@pytest.fixture(scope="module")  # no longer: while it is open, an event loop runs, and other tests start their own
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a report from disk; afterwards, check that it caused no error, no dialog, and no request to a network."""
    complaints: list[str] = []
    contexts = []

    def open_report(path: Path, *, width: int = 1280, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend(_remote(request.url)))
        page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url[:100]}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.goto(path.as_uri())
        return page

    yield open_report
    for context in contexts:
        context.close()
    assert complaints == []


def _remote(url: str) -> list[str]:
    return [] if url.startswith(("file:", "data:", "blob:")) else [f"request: {url}"]
