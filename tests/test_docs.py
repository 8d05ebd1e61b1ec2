"""Links, scripts, tests and settings that the documentation names exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from vocoder.commands import cli
from vocoder.commands.preprocess import register_mel_presets
from vocoder.features.mel import PRESETS
from vocoder.settings import suggestion

ROOT = Path(__file__).parent.parent
FOLDERS = ("configs", "docs", "scripts", "tests", "vocoder")
LINK = re.compile(r"\[[^][]*\]\(([^()\s]+)\)")
MODULE = re.compile(r"python -m\s+(scripts(?:\.\w+)+)")
FILE = re.compile(r"(?<![\w/.-])((?:scripts|tests|vocoder|configs|docs)/[\w./-]*\w)(?![\w*])")
SETTING = re.compile(r"(?<![\w.-])((?:training|model|distribution)(?:\.\w+)+)")  # of training, wherever it is named
PYTHON = re.compile(
    r"^```python\n.*?^```$|`\w+\.\w+\([^`]*`", re.MULTILINE | re.DOTALL
)  # in which `model` is an object


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])


PAGES = pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(text: str, folder: Path) -> list[str]:
    """Relative links of a page in `folder` whose file or heading does not exist."""
    relative = [link for link in LINK.findall(text) if not re.match(r"[a-z]+:", link)]
    return [link for link in relative if not leads_somewhere(link, text, folder)]


def leads_somewhere(link: str, text: str, folder: Path) -> bool:
    path, _, anchor = link.partition("#")
    if path and not (folder / path).exists():
        return False
    return not anchor or anchor in anchors((folder / path).read_text("utf-8") if path else text)


def missing_files(text: str) -> list[str]:
    """Scripts, tests and other files named by their path from the root, that do not exist."""
    modules = [module.replace(".", "/") + ".py" for module in MODULE.findall(text)]
    return [name for name in [*modules, *FILE.findall(text)] if not (ROOT / name).exists()]


def settings(config_name: str, *choices: str) -> set[str]:
    """Dotted names of all settings of a command, groups included."""
    return set(dotted(OmegaConf.to_container(cli._compose(config_name, list(choices)))))


def dotted(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, f"{prefix}{key}.")


@pytest.fixture(scope="module")
def known() -> dict[str, set[str]]:
    """The settings of each command, under any choice of its groups."""
    register_mel_presets()
    distributions = (path.stem for path in (ROOT / "configs/train/distribution").glob("*.yaml"))
    train = set.union(*(settings("train", f"distribution={name}") for name in distributions))
    return {
        "doctor": settings("doctor"),
        "preprocess": settings("preprocess") | {"mel"},
        "train": train | {"experiment"},
        "synthesize": settings("synthesize"),
        "import": settings("import"),
    }


def unknown_settings(text: str, known: dict[str, set[str]]) -> list[str]:
    """Settings in command lines, and training's dotted ones anywhere, that no config has."""
    text = re.sub(r"\\\n\s*", " ", text)
    unknown = [
        name
        for name in SETTING.findall(PYTHON.sub("", text))
        if name not in known["train"] and not name.endswith(".md")
    ]
    for command, arguments in re.findall(r"vocoder-(doctor|preprocess|train|synthesize|import)((?: +\S+)*)", text):
        named = re.findall(r" (\w[\w.]*)=", arguments.split("`")[0])
        unknown += [f"{name}{suggestion(name, sorted(known[command]))}" for name in named if name not in known[command]]
    return unknown


@PAGES
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    assert broken_links(page.read_text("utf-8"), page.parent) == []


@PAGES
def test_every_file_and_script_that_is_named_exists(page: Path) -> None:
    assert missing_files(page.read_text("utf-8")) == []


@PAGES
def test_every_setting_that_is_named_exists(page: Path, known: dict[str, set[str]]) -> None:
    assert unknown_settings(page.read_text("utf-8"), known) == []


def test_every_script_and_every_page_is_in_its_index() -> None:
    scripts, docs = ((ROOT / folder / "README.md").read_text("utf-8") for folder in ("scripts", "docs"))
    programs = [*(ROOT / "scripts").rglob("*.py"), *(ROOT / "scripts").rglob("*.cpp")]
    unlisted = [path for path in programs if f"`{path.stem}`" not in scripts and f"`{path.name}`" not in scripts]
    assert unlisted == []
    assert [p.name for p in (ROOT / "docs").glob("*.md") if f"({p.name})" not in docs] == ["README.md"]


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_of_mel_presets_has_their_numbers(name: str) -> None:
    spec = PRESETS[name]
    (row,) = re.findall(rf"^\| `{name}`.*$", (ROOT / "docs/data.md").read_text("utf-8"), re.MULTILINE)
    cells = [re.sub(r"(?<=\d) (?=\d)", "", cell.strip()) for cell in row.strip("|").split("|")]
    assert cells[1:5] == [
        f"{spec.sample_rate} Hz",
        f"{spec.n_mels}",
        f"{spec.hop_length} / {spec.win_length} / {spec.n_fft}",
        f"{spec.fmin:.0f}–{spec.fmax:.0f} Hz",
    ]


def test_these_tests_see_what_is_wrong(known: dict[str, set[str]]) -> None:
    assert broken_links("[a](nowhere.md) [b](README.md#no-such-heading) [c](https://example.org)", ROOT) == [
        "nowhere.md",
        "README.md#no-such-heading",
    ]
    assert missing_files("python -m scripts.attic.sweep, `tests/test_attic.py`, tests/test_docs.py") == [
        "scripts/attic/sweep.py",
        "tests/test_attic.py",
    ]
    text = "`training.batch.sizes=2`\n\n    vocoder-synthesize model=run \\\n        temprature=0.9"
    assert unknown_settings(text, known) == ["training.batch.sizes", "temprature (did you mean temperature?)"]
