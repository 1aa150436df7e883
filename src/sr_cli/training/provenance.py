"""What a run was made with: the time, versions and git commit."""

import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sr_cli import __version__
from sr_cli.system.packages import version_of
from sr_cli.weights.checksums import sha256_of

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "safetensors")


def provenance() -> dict[str, Any]:
    """``time`` in ISO 8601, UTC; the ``versions`` of everything that affects the result; the ``git`` commit."""
    versions = {"sr": __version__, "python": platform.python_version(), "platform": platform.platform()}
    versions |= {package: version_of(package) or "unknown" for package in _PACKAGES}
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"time": now, "versions": versions, "git": _revision()}


def file_record(name: str, file: Path | None) -> dict[str, Any]:
    """The file of another network and its SHA-256, as ``config.json`` records them."""
    if file is None:
        return {name: None, f"{name}_sha256": None}
    return {name: str(file.absolute()), f"{name}_sha256": sha256_of(file)}


def _revision() -> dict[str, Any] | None:
    """The commit of this code and whether files have changed since; ``None`` if it isn't a git checkout."""
    try:
        _git("ls-files", "--error-unmatch", Path(__file__).name)  # fails in an environment inside another repository
        changes = _git("status", "--porcelain", "--untracked-files=no", ".")
        return {"commit": _git("rev-parse", "HEAD"), "changed": bool(changes)}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
