"""Write constraints.txt: the newest version of every dependency, extras included, that pyproject.toml admits.

pip resolves as for an empty environment but installs nothing. Python 3.11, the oldest that is supported, must run this:
of some packages the newest versions need a later Python, whereas what 3.11 can install, later ones can too.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = """\
# The versions that `make env` and the Dockerfile install, of all dependencies in pyproject.toml with its extras.
# Renewed by `make lock`; not to be edited. Resolved on Python 3.11; wheels for 3.12 and 3.13 exist as well. A later
# Python ignores every line and takes what pyproject.toml admits: these versions may have no wheels for it.
"""
COVERED = 'python_version < "3.14"'


def resolved(folder: Path) -> dict[str, str]:
    """Version of each package that an empty environment would get."""
    report = folder / "report.json"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    wanted = ["--dry-run", "--ignore-installed", "--report", str(report), f"{ROOT}[demo,metrics,dask,dev]"]
    subprocess.run([*pip, *wanted], check=True)
    packages = [item["metadata"] for item in json.loads(report.read_text())["install"] if not item.get("is_direct")]
    return {package["name"]: package["version"] for package in packages}


def main() -> None:
    if sys.version_info[:2] != (3, 11):
        sys.exit(f"error: the lock is made with Python 3.11; this is {sys.version.split()[0]}")
    with tempfile.TemporaryDirectory() as folder:
        versions = resolved(Path(folder))
    lines = [f"{name}=={versions[name]} ; {COVERED}\n" for name in sorted(versions, key=str.lower)]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main()
