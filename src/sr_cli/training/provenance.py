"""What a run was made from: versions, git revision, photos."""

import importlib.metadata
import platform
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sr_cli import __version__
from sr_cli.data import Photos

_PACKAGES = ("torch", "torchvision", "numpy", "pillow", "safetensors")


def now() -> str:
    """The time in ISO 8601, UTC."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """The versions of everything that affects the result."""
    found = {"sr": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "unknown"
    return found


def revision() -> dict[str, Any] | None:
    """The git commit of this code and whether files have changed since; ``None`` if it isn't a checkout."""
    source = Path(__file__).resolve().parent
    try:
        tracked = _git(source, "ls-files", "--error-unmatch", Path(__file__).name)
        commit = _git(source, "rev-parse", "HEAD")
        changes = _git(source, "status", "--porcelain", "--untracked-files=no", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return {"commit": commit, "changed": bool(changes)} if tracked else None


def description(photos: Photos, validation: Photos) -> dict[str, Any]:
    """The data of a run."""
    return {
        "folder": str(photos.folder.absolute()),
        "photos": len(photos),
        "skipped": len(photos.skipped),
        "fingerprint": photos.fingerprint,
        "validation": [str(path) for path in validation.paths],
    }


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
