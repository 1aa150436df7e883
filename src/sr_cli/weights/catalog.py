"""The catalog of community models: facts of files that other projects publish, and the names that people know them by.

``tools/catalog.py`` writes it from OpenModelDB's records.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

CATALOG = Path(__file__).parents[1] / "pretrained" / "catalog.json"

_ALIASES = {
    "realesrgan": "4x-realesrgan-x4plus",
    "realesrgan-x2": "2x-realesrgan-x2plus",
    "realesrgan-x4": "4x-realesrgan-x4plus",
    "realesrgan-anime": "4x-realesrgan-x4plus-anime-6b",
    "realesrgan-general": "4x-realesr-general-x4v3",
    "esrgan": "4x-ESRGAN",
    "siax": "4x-NMKD-Siax-CX",
    "superscale": "4x-NMKD-Superscale",
    "bsrgan": "4x-BSRGAN",
    "swinir": "4x-realSR-BSRGAN-DFO-s64w8-SwinIR-M-x4-GAN",
}
"""What people call a model, beside its name without the scale, and the name of its file."""


def plain(name: str) -> str:
    """A name as it is compared: case, hyphens, underscores, dots and blanks don't matter."""
    return re.sub(r"[\W_]+", "", name.lower())


@cache
def tables() -> dict[str, dict[str, Any]]:
    """The catalog by name, each in the form of a table of ``registry.toml``."""
    rows = json.loads(CATALOG.read_text("utf-8"))
    return {
        row["name"]: {
            **{key: value for key, value in row.items() if key != "name"},
            "kind": "upscaler",
            "file": row["name"] + Path(next(iter(row["urls"]), "x.pth")).suffix,
            "source": f"https://openmodeldb.info/models/{row['name']}",
        }
        for row in rows
    }


@cache
def names() -> dict[str, list[str]]:
    """The models by all that they are called, `plain`; a name without its scale may stand for several."""
    found: dict[str, list[str]] = {}
    for name, table in tables().items():
        for called in (name, name.partition("x-")[2], *(Path(url).stem for url in table["urls"][:1])):
            models = found.setdefault(plain(called), [])
            models += [name] if name not in models else []
    return found | {plain(name): [name] for name in tables()} | {plain(key): [name] for key, name in _ALIASES.items()}


def in_plain_words(license: str) -> str:
    """What a license allows and asks for, if it is a common one (by SPDX), else nothing."""
    if " " in license:
        return ""
    if license.startswith("CC-"):
        parts = license.split("-")
        asked = ["credit the author"]
        asked += ["share changes under the same license"] if "SA" in parts else []
        return "; ".join(["no commercial use" if "NC" in parts else "commercial use allowed", *asked])
    if license in ("CC0-1.0", "WTFPL", "Unlicense", "0BSD"):
        return "commercial use allowed, without conditions"
    if license.startswith(("MIT", "BSD", "Apache", "ISC")):
        return "commercial use allowed; pass the notice on with the file"
    if license.startswith(("GPL", "AGPL", "LGPL")):
        return "commercial use allowed; pass the file and changes of it on under the same license"
    return ""


def allows_commerce(license: str) -> bool:
    """Whether a license is known to allow commercial use."""
    return in_plain_words(license).startswith("commercial")
