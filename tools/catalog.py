"""Refresh the catalog of community models from a checkout of https://github.com/OpenModelDB/open-model-database.

    python tools/catalog.py ~/open-model-database

Facts only: no descriptions and no pictures. A model is listed if a file of it can be downloaded without a browser, has
a known SHA-256, size and license, and an architecture that `sr` runs. A few that everybody asks for are listed although
only a page has them.
"""

import argparse
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sr_cli.weights.catalog import CATALOG

PAGES = ("drive.google.com", "mega.nz", "1drv.ms", "onedrive.live.com", "mediafire.com", "www.mediafire.com")
"""Hosts that answer with a page."""
WELL_KNOWN = ("4x-AnimeSharp", "4x-NMKD-Siax-CX", "4x-NMKD-Superscale", "4x-Remacri", "4x-UltraSharp")
"""Models that are listed without a URL, so that `sr` can say where to get them, and check the file."""
ARCHITECTURES = (
    "atd", "compact", "dat", "ditn", "drct", "esrgan", "grl", "hat", "mosr", "omnisr", "rcan", "realplksr",
    "realplksr-dysample", "rgt", "span", "swinir",
)  # fmt: skip
"""Those that ``tests/networks/test_architectures.py`` runs."""


def row(path: Path) -> dict[str, Any] | None:
    """The catalog's row of a model; ``None`` if it cannot be listed."""
    model = json.loads(path.read_text("utf-8"))
    if not model.get("license") or model["architecture"] not in ARCHITECTURES:
        return None
    for file in model["resources"]:
        urls = [url for url in file["urls"] if is_direct(url)]
        wanted = bool(urls) or path.stem in WELL_KNOWN
        if file["platform"] == "pytorch" and wanted and file.get("sha256") and file.get("size"):
            author = model["author"]
            return {
                "name": path.stem,
                "scale": model["scale"],
                "architecture": model["architecture"],
                "license": model["license"],
                "author": author if isinstance(author, str) else ", ".join(author),
                "date": model["date"],
                "tags": sorted(model["tags"]),
                "size": file["size"],
                "sha256": file["sha256"],
                "urls": urls,
            }
    return None


def is_direct(url: str) -> bool:
    """Whether a program gets the file from this URL, not a page about it."""
    parts = urlsplit(url)
    suffix = Path(parts.path).suffix
    return parts.scheme == "https" and parts.hostname not in PAGES and suffix in (".pth", ".pt", ".safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--output", type=Path, default=CATALOG, help="the package's catalog by default")
    options = parser.parse_args()
    folder = options.checkout / "data" / "models"
    paths = sorted(folder.glob("*.json"), key=lambda path: path.stem.lower())
    rows = [found for path in paths if (found := row(path))]
    if not rows:
        raise SystemExit(f"{folder}: no model can be listed")
    lines = (json.dumps(each, ensure_ascii=False, separators=(",", ":")) for each in rows)
    options.output.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")
    print(f"{options.output}: {len(rows)} of {len(paths)} models")


if __name__ == "__main__":
    main()
