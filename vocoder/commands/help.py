"""What --help shows: the settings with their comments, as the files below configs/ have them."""

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

CHOICE = re.compile(r"  - (\w+): (\S+)(.*)")


def help_of(program: str, package: str, config_name: str) -> str:
    """The root file of a config, and the chosen file of each group after it."""
    root = files(package)
    text = (root / f"{config_name}.yaml").read_text("utf-8")
    first, settings = text.split("\n", 1)
    defaults, settings = settings.split("\n\n", 1)
    settings = settings.split("\nhydra:", 1)[0].strip()
    parts = [first.removeprefix("# "), f"Settings, each as KEY=VALUE ({program} a.b=1 sets b of a); ??? must be given:"]
    parts.append(_indented(settings))
    for group, option, comment in CHOICE.findall(defaults):
        parts.append(f"{group}={option}{comment}")
        chosen = root / group / f"{option}.yaml"
        if chosen.is_file():
            parts[-1] = "\n".join([parts[-1], *_listed(root / group), f"  {group}:", _indented(_body(chosen), 4)])
    return "\n\n".join(parts)


def _listed(group: Traversable) -> list[str]:
    """A line for each file of a group: its name, and its first comment."""
    names = sorted(file.name.removesuffix(".yaml") for file in group.iterdir() if file.name.endswith(".yaml"))
    return [f"  {group.name}={name}: {_about(group / f'{name}.yaml')}" for name in names]


def _about(file: Traversable) -> str:
    return next(line for line in file.read_text("utf-8").splitlines() if not line.startswith("# @")).removeprefix("# ")


def _body(file: Traversable) -> str:
    return "\n".join(line for line in file.read_text("utf-8").splitlines() if not line.startswith("#"))


def _indented(text: str, by: int = 2) -> str:
    return "\n".join(" " * by + line if line else line for line in text.splitlines())
