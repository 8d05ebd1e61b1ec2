"""The rooms of the house: imports point down only, and nothing that is loaded can run code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = (  # from the bottom; rooms on one row do not import each other
    ("errors",),
    ("files", "settings", "device", "compiling"),
    ("audio", "jobs", "spectral", "functions", "index"),
    ("mel", "distributions", "products"),
    ("store", "mel_files"),
    ("model", "corpus", "dataset"),
    ("engines",),
    ("synthesis", "likelihood"),
    ("training", "evaluation"),
    ("commands",),
)
HEIGHT = {room: height for height, row in enumerate(ROWS) for room in row}
COMMANDS_ONLY = {"hydra", "omegaconf"}
MODULES = sorted((ROOT / "vocoder").rglob("*.py"))
SOURCES = MODULES + sorted((ROOT / "scripts").rglob("*.py"))


def dotted(path: Path) -> tuple[str, ...]:
    """vocoder/model/layers.py as (vocoder, model, layers); a package is its __init__."""
    return path.relative_to(ROOT).with_suffix("").parts


def imported(module: tuple[str, ...], text: str) -> Iterator[tuple[str, ...]]:
    """Every module, or name in a module, that `text` imports: also inside functions, also relative."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module[: -node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            yield from ((*base, alias.name) for alias in node.names)


def wrong_imports(module: tuple[str, ...], text: str) -> list[str]:
    room = module[1]
    if room != "__init__" and room not in HEIGHT:
        return [f"{room} has no row: give it one in {Path(__file__).name}"]
    wrong = []
    for target in imported(module, text):
        if target[0] in COMMANDS_ONLY and room != "commands":
            wrong.append(f"{'.'.join(module)} imports {target[0]}, which only commands may")
        if target[0] != "vocoder":
            continue
        other = target[1] if len(target) > 1 and target[1] in HEIGHT else "__init__"  # a name from the package itself
        down = other == room or (other in HEIGHT and HEIGHT[other] < HEIGHT.get(room, -1))
        if not (down or (room == "__init__" and other == "synthesis")):
            wrong.append(f"{'.'.join(module)} imports {'.'.join(target)}, which is not below it")
    return wrong


def unsafe_loads(text: str) -> list[str]:
    """Calls that could run code out of a file."""
    unsafe = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            unsafe += [f"imports {name}" for name in names if name in ("pickle", "joblib", "dill", "cloudpickle")]
            if isinstance(node, ast.ImportFrom) and node.module == "torch" and "load" in names:
                unsafe.append("imports load from torch, which hides its calls")
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if (
            ast.unparse(node.func) in ("torch.load", "torch.hub.load", "torch.jit.load")
            and given.get("weights_only") != "True"
        ):
            unsafe.append(f"line {node.lineno}: {ast.unparse(node)} without weights_only=True")
        if given.get("allow_pickle", "False") != "False":
            unsafe.append(f"line {node.lineno}: {ast.unparse(node)} allows pickles")
    return unsafe


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(dotted(path)))
def test_imports_point_down_only(path: Path) -> None:
    assert wrong_imports(dotted(path), path.read_text(encoding="utf-8")) == []


KINDS_OF_DISTRIBUTION = {"MixtureOfLogistics", "MixtureOfGaussians", "Gaussian", "Categorical"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: ".".join(dotted(path)))
def test_only_the_distributions_know_their_kinds(path: Path) -> None:
    named = {node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)}
    assert "distributions" in dotted(path) or not named & KINDS_OF_DISTRIBUTION


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: ".".join(dotted(path)))
def test_nothing_is_loaded_that_could_run_code(path: Path) -> None:
    assert unsafe_loads(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("vocoder.mel", "from vocoder.model import VocoderModel"),
        ("vocoder.mel", "import vocoder.model.wavenet"),
        ("vocoder.mel", "from vocoder import model"),
        ("vocoder.mel", "from . import model"),
        ("vocoder.mel", "from .model.wavenet import WaveNet"),
        ("vocoder.mel", "def late():\n    from vocoder.synthesis import load"),
        ("vocoder.mel", "import vocoder"),
        ("vocoder.mel", "from vocoder import load"),
        ("vocoder.mel", "from vocoder.distributions import Grid"),
        ("vocoder.model.layers", "from ..corpus import preprocess"),
        ("vocoder.training.trainer", "from vocoder.evaluation import report"),
        ("vocoder.synthesis", "from omegaconf import OmegaConf"),
        ("vocoder.training.trainer", "import hydra.utils"),
        ("vocoder.__init__", "from vocoder.training import Trainer"),
        ("vocoder.attic", ""),
    ],
)
def test_this_test_sees_a_wrong_import(module: str, text: str) -> None:
    assert len(wrong_imports(tuple(module.split(".")), text)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("vocoder.mel", "import torch\nfrom vocoder.errors import UserError\nfrom vocoder import errors"),
        ("vocoder.model.layers", "from .wavenet import WaveNet\nfrom vocoder.model import wavenet"),
        ("vocoder.commands.train", "import hydra\nfrom vocoder.training import Trainer"),
        ("vocoder.__init__", "from vocoder.synthesis import load"),
    ],
)
def test_this_test_passes_a_right_import(module: str, text: str) -> None:
    assert wrong_imports(tuple(module.split(".")), text) == []


@pytest.mark.parametrize(
    "text",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "np.load(path, allow_pickle=True)",
        "from torch import load",
        "import pickle",
    ],
)
def test_this_test_sees_a_load_that_could_run_code(text: str) -> None:
    assert len(unsafe_loads(text)) == 1
    assert unsafe_loads("torch.load(path, weights_only=True)\nnp.load(path, allow_pickle=False)") == []
