"""The order of the packages: imports point down only, and nothing that is loaded can run code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = (  # from the bottom; packages on one row do not import each other
    ("errors",),
    ("files", "settings", "device", "jobs", "compilation"),
    ("features", "kernels"),
    ("corpora", "distributions"),
    ("data", "model"),
    ("engines", "importers"),
    ("synthesis",),
    ("evaluation",),
    ("report",),
    ("doctor", "training"),
    ("commands",),
)
LEVEL = {package: level for level, row in enumerate(ROWS) for package in row}
ONLY_IN = {
    "hydra": ("commands",),
    "omegaconf": ("commands",),
    "numba": ("compilation", "kernels"),
    "llvmlite": ("kernels",),
}
MODULES = sorted((ROOT / "vocoder").rglob("*.py"))
SOURCES = MODULES + sorted((ROOT / "scripts").rglob("*.py"))


def dotted(path: Path) -> tuple[str, ...]:
    """The parts of a module's dotted name: (vocoder, model, wavenet) for vocoder/model/wavenet.py."""
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
    package = module[1]
    if package != "__init__" and package not in LEVEL:
        return [f"{package} has no row: give it one in {Path(__file__).name}"]
    wrong = []
    for target in imported(module, text):
        if package not in ONLY_IN.get(target[0], (package,)):
            wrong.append(f"{'.'.join(module)} imports {target[0]}, which only {' and '.join(ONLY_IN[target[0]])} may")
        if target[0] != "vocoder":
            continue
        other = target[1] if len(target) > 1 and target[1] in LEVEL else "__init__"  # a name from the package itself
        down = other == package or (other in LEVEL and LEVEL[other] < LEVEL.get(package, -1))
        if not (down or (package == "__init__" and other == "synthesis")):
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


def test_contributing_shows_these_rows() -> None:
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()
    shown = [line.strip() for line in lines if line.startswith("    ")]
    rows = [", ".join(row) for row in reversed(ROWS)]
    assert any(shown[i : i + len(rows)] == rows for i in range(len(shown))), rows


def test_every_package_has_a_row_and_every_row_names_packages() -> None:
    packages = {path.relative_to(ROOT / "vocoder").parts[0].removesuffix(".py") for path in MODULES}
    assert packages - {"__init__"} == set(LEVEL)


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
        ("vocoder.features.mel", "from vocoder.model import VocoderModel"),
        ("vocoder.features.mel", "import vocoder.model.wavenet"),
        ("vocoder.features.mel", "from vocoder import model"),
        ("vocoder.features.mel", "from .. import model"),
        ("vocoder.features.mel", "from ..model.wavenet import WaveNet"),
        ("vocoder.features.mel", "def late():\n    from vocoder.synthesis import load"),
        ("vocoder.features.mel", "import vocoder"),
        ("vocoder.features.mel", "from vocoder import load"),
        ("vocoder.features.mel", "from vocoder.distributions import Grid"),
        ("vocoder.model.wavenet", "from ..data import preprocess"),
        ("vocoder.evaluation.likelihood", "from vocoder.training import Trainer"),
        ("vocoder.synthesis", "from omegaconf import OmegaConf"),
        ("vocoder.training.trainer", "import hydra.utils"),
        ("vocoder.model.residual_layer_cpu", "import numba"),
        ("vocoder.engines.cpu", "def late():\n    from llvmlite import ir"),
        ("vocoder.__init__", "from vocoder.training import Trainer"),
        ("vocoder.attic", ""),
    ],
)
def test_this_test_sees_a_wrong_import(module: str, text: str) -> None:
    assert len(wrong_imports(tuple(module.split(".")), text)) == 1


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("vocoder.features.mel", "import torch\nfrom vocoder.errors import UserError\nfrom vocoder import errors"),
        ("vocoder.model.wavenet", "from .config import ModelConfig\nfrom vocoder.model import config"),
        ("vocoder.commands.train", "import hydra\nfrom vocoder.training import Trainer"),
        ("vocoder.kernels.matmul", "import numba\nfrom llvmlite import ir"),
        ("vocoder.training.trainer", "from vocoder.evaluation.likelihood import likelihood"),
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


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: path.stem)
def test_every_test_file_has_a_test(path: Path) -> None:
    assert "\ndef test_" in path.read_text(encoding="utf-8")
