"""Install pip into a virtual environment if Python has no ensurepip: VENV/bin/python scripts/bootstrap_pip.py

Downloads the latest wheel of pip from PyPI, verifies the SHA-256 that PyPI lists, and runs pip from the wheel to
install itself. Needs only the standard library.
"""

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from urllib.parse import urljoin

INDEX = "https://pypi.org/pypi/pip/json"
TIMEOUT = 60  # seconds


def main() -> None:
    if sys.prefix == sys.base_prefix:
        sys.exit("error: not a virtual environment; run this with VENV/bin/python")
    if importlib.util.find_spec("pip"):
        return
    try:
        files = json.loads(_download(INDEX))["urls"]
        wheel = next(file for file in files if file["packagetype"] == "bdist_wheel")
        content = _download(urljoin(INDEX, wheel["url"]))  # absolute on PyPI, relative on some mirrors
    except OSError as error:
        sys.exit(f"error: cannot download pip from PyPI ({error}); try again, or install your system's python3-venv")
    if hashlib.sha256(content).hexdigest() != wheel["digests"]["sha256"]:
        sys.exit(f"error: {wheel['url']} does not match its SHA-256; nothing was installed")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / wheel["filename"]
        path.write_bytes(content)
        # A wheel is a zip file, and Python can run a package inside one.
        done = subprocess.run([sys.executable, f"{path}/pip", "install", "--no-index", str(path)])
    sys.exit(done.returncode)


def _download(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
        return response.read()


if __name__ == "__main__":
    main()
