"""The text of --help: the settings with their comments, read from the YAML files below configs/ as plain text."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

GROUP = re.compile(r"  - (\w+): (\S+)(.*)")  # an entry of a defaults list: group, chosen option, comment


def help_text(program: str, package: str, config_name: str) -> str:
    """The settings of a config's root file, then those of the chosen option of each config group."""
    root = files(package)
    text = (root / f"{config_name}.yaml").read_text("utf-8")
    first, settings = text.split("\n", 1)
    defaults, settings = settings.split("\n\n", 1)
    settings = settings.split("\nhydra:", 1)[0].strip()
    parts = [first.removeprefix("# "), f"Settings, each as KEY=VALUE ({program} a.b=1 sets b of a); ??? is required:"]
    parts.append(_indent(settings))
    for group, option, comment in GROUP.findall(defaults):
        parts.append(f"{group}={option}{comment}")
        chosen = root / group / f"{option}.yaml"
        if chosen.is_file():
            parts[-1] = "\n".join([parts[-1], *_options(root / group), f"  {group}:", _indent(_body(chosen), 4)])
    return "\n\n".join(parts)


def _options(group: Traversable) -> list[str]:
    """A line for each option of a config group: its name, and the first comment of its file."""
    names = sorted(file.name.removesuffix(".yaml") for file in group.iterdir() if file.name.endswith(".yaml"))
    return [f"  {group.name}={name}: {_summary(group / f'{name}.yaml')}" for name in names]


def _summary(file: Traversable) -> str:
    """The first comment; `# @package …` is for Hydra."""
    return next(line for line in file.read_text("utf-8").splitlines() if not line.startswith("# @")).removeprefix("# ")


def _body(file: Traversable) -> str:
    return "\n".join(line for line in file.read_text("utf-8").splitlines() if not line.startswith("#"))


def _indent(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line if line else line for line in text.splitlines())
