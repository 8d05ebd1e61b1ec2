"""What the console scripts share: Hydra in front, one clear line and exit code 2 behind."""

import errno
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import hydra
from hydra import compose, initialize_config_module
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from vocoder.commands.help import help_of
from vocoder.errors import UserError
from vocoder.settings import suggestion

# Where each command's config lies. Training has config groups, so it has a root of its own: Hydra takes `model=…` for
# the choice of a group wherever a folder of that name is in sight, and synthesis has a setting called model.
CONFIGS = {
    "preprocess": "vocoder.configs",
    "train": "vocoder.configs.train",
    "synthesize": "vocoder.configs",
}
PATHS = {"preprocess": ("input", "output"), "train": ("data", "runs"), "synthesize": ("model", "input", "output")}
USER_ERROR, INTERRUPTED = 2, 130
BAD_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.ENOTDIR)  # wherever the like is first looked at
Item = TypeVar("Item")


def run(config_name: str, job: Callable[[dict[str, Any]], int]) -> None:
    """Compose the config of a console script from sys.argv, run `job` on it, and exit with what it returns.

    Hydra composes once more for its own options (--multirun, --cfg, completion); composing first, here,
    is what turns its errors into one line.
    """
    program = f"vocoder-{config_name}"

    @hydra.main(version_base="1.3", config_path=f"pkg://{CONFIGS[config_name]}", config_name=config_name)
    def hydra_job(config: DictConfig) -> None:
        code = reporting(program, lambda: job(_plain(config)))
        if code:
            sys.exit(code)

    sys.argv[1:] = arguments = [quote_path(argument, PATHS[config_name]) for argument in sys.argv[1:]]
    if arguments in (["--help"], ["-h"]):
        print(help_of(program, CONFIGS[config_name], config_name))
        return
    if not any(argument.startswith("-") for argument in arguments):
        code = reporting(program, lambda: check(config_name, arguments))
        if code:
            sys.exit(code)
    hydra_job()


@dataclass(frozen=True)
class SweepJob:
    """One job of --multirun."""

    number: int
    overrides: list[str]


def sweep_job() -> SweepJob | None:
    """Which job of a sweep this is; None where it is none."""
    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return SweepJob(HydraConfig.get().job.num, list(HydraConfig.get().overrides.task))


def quote_path(argument: str, keys: tuple[str, ...]) -> str:
    """KEY=PATH as Hydra's grammar takes any path: quoted, the home folder spelt out."""
    key, _, value = argument.partition("=")
    if key not in keys or not value or value[0] in "'\"" or value == "null":
        return argument
    escaped = os.path.expanduser(value).replace('"', '\\"')
    return f'{key}="{escaped}"'


def check(config_name: str, overrides: list[str]) -> int:
    """Compose with the overrides for the sake of the errors alone; 0 where there are none."""
    composed(config_name, overrides)
    return 0


def composed(config_name: str, overrides: list[str]) -> dict[str, Any]:
    """A console script's config with overrides, as plain data.

    Raises:
        UserError: as `compose_config`; or a setting that has no default is missing.
    """
    config = compose_config(config_name, overrides)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"give {' '.join(f'{key}=…' for key in missing)} (see --help)")
    return _plain(config)


def compose_config(config_name: str, overrides: list[str]) -> DictConfig:
    """A config by name, as the console script would see it.

    Raises:
        UserError: an override is misspelt (the nearest name is given) or malformed.
    """
    with initialize_config_module(CONFIGS[config_name], version_base="1.3"):
        try:
            return compose(config_name, overrides)
        except MissingConfigException as error:
            options = [str(option) for option in error.options or ()]
            raise UserError(f"unknown choice {error.missing_cfg_file}{suggestion(_last(error), options)}") from None
        except OverrideParseException as error:
            raise UserError(
                f"{error.override}: cannot be read as KEY=VALUE; a value with other than letters, digits and _-./ "
                "goes in two pairs of quotes, as in 'KEY=\"VALUE\"'"
            ) from None
        except (HydraException, OmegaConfBaseException) as error:
            unknown = re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^'@]+)", str(error))
            if unknown is None:
                raise UserError(str(error).splitlines()[0]) from None
            key = unknown[1]
            choices = [o for o in overrides if "/" in o.split("=")[0] or "." not in o.split("=")[0]]
            raise UserError(f"unknown setting {key}{suggestion(key, _known_keys(config_name, choices))}") from None


def progress(items: Iterable[Item], title: str, total: int, unit: str = "file") -> Iterable[Item]:
    """A progress bar over items."""
    return tqdm(items, desc=title, total=total, unit=unit, dynamic_ncols=True)


def reporting(program: str, work: Callable[[], int | None]) -> int:
    """The exit code of `work`, with a user's errors as one line on standard error."""
    try:
        return work() or 0
    except UserError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return USER_ERROR
    except OSError as error:
        if error.errno not in BAD_PATHS or not error.filename:
            raise
        print(f"{program}: {str(error.filename)[:200]}: {error.strerror}; choose another path", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _known_keys(config_name: str, choices: list[str]) -> list[str]:
    """Every setting's dotted name, and the config groups'."""
    parser = OverridesParser.create()
    names = set(_flatten(OmegaConf.to_container(compose(config_name))))
    for choice in choices:  # another option of a group may have other keys
        try:
            key = parser.parse_override(choice).key_or_group
            if key in names or key == "experiment":
                names |= set(_flatten(OmegaConf.to_container(compose(config_name, [choice]))))
        except (HydraException, OmegaConfBaseException):
            continue
    return sorted(names | {"experiment"} if config_name == "train" else names)


def _flatten(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")


def _last(error: MissingConfigException) -> str:
    return str(error.missing_cfg_file).rsplit("/", maxsplit=1)[-1]


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
