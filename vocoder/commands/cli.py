"""What the commands share: Hydra composes their settings, and a user's errors become one line and exit code 2."""

import errno
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vocoder.commands import CONFIG_PACKAGES, INTERRUPTED
from vocoder.commands.overrides import as_typed
from vocoder.commands.streams import write_line
from vocoder.errors import UserError
from vocoder.settings import suggestion, text_settings, unknown_setting

# The settings of each command that are paths, in which any character may occur.
PATHS = {
    "preprocess": ("input", "output", "mels"),
    "train": ("data", "runs", "init_from"),
    "synthesize": ("model", "input", "output", "mel.statistics"),
    "evaluate": ("model", "data", "generated", "reference", "output"),
    "import": ("source", "output", "hparams", "stats"),
    "doctor": ("input", "output"),
}
USER_ERROR = 2  # exit code
BAD_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.ENOTDIR)  # errors that only another path can avoid


def run_job(command: str, job: Callable[[dict[str, Any]], int], config: type) -> None:
    """Compose a command's settings from sys.argv, run `job` on them, and exit with the code that it returns.

    Settings that are text in the dataclass `config` keep what was typed.

    Hydra composes again for its own options (--multirun, --cfg, completion). Composing here first turns errors in the
    overrides into one line.

    Raises:
        SystemExit: the exit code is not 0.
    """
    program = f"vocoder-{command}"

    @hydra.main(version_base="1.3", config_path=f"pkg://{CONFIG_PACKAGES[command]}", config_name=command)
    def hydra_job(config: DictConfig) -> None:
        code = report_errors(program, lambda: job(_to_dict(config)))
        if code:
            sys.exit(code)

    code = report_errors(program, lambda: refuse_dashes(sys.argv[1:], config))
    if code:
        sys.exit(code)
    texts, sweep = text_settings(config), bool({"-m", "--multirun"}.intersection(sys.argv))
    sys.argv[1:] = arguments = [as_typed(argument, PATHS[command], texts, sweep) for argument in sys.argv[1:]]
    if not any(argument.startswith("-") for argument in arguments):
        code = report_errors(program, lambda: check_overrides(command, arguments))
        if code:
            sys.exit(code)
    hydra_job()


def refuse_dashes(arguments: Sequence[str], config: type) -> int:
    """Exit code 0. Raises UserError for a setting that is written like an option, as --output x."""
    settings = {field.name for field in fields(config)}
    for argument in arguments:
        name = argument.removeprefix("--").split("=")[0]
        if argument.startswith("--") and name.split(".")[0] in settings:
            raise UserError(f"{argument}: settings have no dashes; write {name}=VALUE")
    return 0


@dataclass(frozen=True)
class SweepJob:
    """One job of --multirun."""

    number: int
    overrides: list[str]


def sweep_job() -> SweepJob | None:
    """The job of a sweep that this is; None outside a sweep."""
    if not HydraConfig.initialized() or HydraConfig.get().mode is not RunMode.MULTIRUN:
        return None
    return SweepJob(HydraConfig.get().job.num, list(HydraConfig.get().overrides.task))


def check_overrides(command: str, overrides: list[str]) -> int:
    """Return 0.

    Raises:
        UserError: as `compose`.
    """
    compose(command, overrides)
    return 0


def compose(command: str, overrides: list[str]) -> dict[str, Any]:
    """A command's settings with these overrides, as plain data.

    Raises:
        UserError: an override is misspelt (the message suggests the nearest name) or malformed, or a required setting
            is missing.
    """
    config = _compose(command, overrides)
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"give {' '.join(f'{key}=…' for key in missing)} (see --help)")
    return _to_dict(config)


def _compose(command: str, overrides: list[str]) -> DictConfig:
    with hydra.initialize_config_module(CONFIG_PACKAGES[command], version_base="1.3"):
        try:
            return hydra.compose(command, overrides)
        except MissingConfigException as error:
            options = [str(option) for option in error.options or ()]
            name = str(error.missing_cfg_file)
            raise UserError(f"unknown choice {name}{suggestion(name.rsplit('/', maxsplit=1)[-1], options)}") from None
        except OverrideParseException as error:
            raise UserError(
                f"{error.override}: cannot be read as KEY=VALUE; put two pairs of quotes around a value that has other "
                "characters than letters, digits and _-./, as in 'KEY=\"VALUE\"'"
            ) from None
        except (HydraException, OmegaConfBaseException) as error:
            unknown = re.search(r"Could not (?:override|append to config|delete from config)[^']*'([^'@]+)", str(error))
            if unknown is None:
                raise UserError(str(error).splitlines()[0]) from None
            key = unknown[1]
            choices = [o for o in overrides if "/" in o.split("=")[0] or "." not in o.split("=")[0]]
            raise unknown_setting(key, key, _known_keys(command, choices)) from None


def report_errors(program: str, work: Callable[[], int | None]) -> int:
    """Run `work` and return its exit code; a user's error and Ctrl-C are one line on standard error."""
    try:
        return work() or 0
    except UserError as error:
        write_line(sys.stderr, f"{program}: {error}")
        return USER_ERROR
    except OSError as error:
        if error.errno not in BAD_PATHS or not error.filename:
            raise
        write_line(sys.stderr, f"{program}: {str(error.filename)[:200]}: {error.strerror}; choose another path")
        return USER_ERROR
    except KeyboardInterrupt:
        write_line(sys.stderr, f"{program}: interrupted")
        return INTERRUPTED


def count(number: int, noun: str) -> str:
    """A number with its noun: `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _known_keys(command: str, choices: list[str]) -> list[str]:
    """The dotted names of all settings and config groups, also of those that the chosen options bring."""
    parser = OverridesParser.create()
    names = set(_flatten(OmegaConf.to_container(hydra.compose(command))))
    for choice in choices:  # another option of a group may have other keys
        try:
            key = parser.parse_override(choice).key_or_group
            if key in names or key == "experiment":
                names |= set(_flatten(OmegaConf.to_container(hydra.compose(command, [choice]))))
        except (HydraException, OmegaConfBaseException):
            continue
    return sorted(names | {"experiment"} if command == "train" else names)


def _flatten(config: Any, prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")


def _to_dict(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
