"""The catalog of community models: what it holds, and the names that find a model in it."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from sr_cli import weights
from sr_cli.errors import WeightsError
from sr_cli.weights import catalog
from support.fast_python import python

TOOL = Path(__file__).parents[2] / "tools/catalog.py"


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path))
    return tmp_path


def test_every_model_can_be_downloaded_and_checked():
    entries = [weights.catalog_entry(name) for name in catalog.tables()]
    assert len(entries) > 200
    for entry in entries:
        assert entry.sha256 and entry.size and entry.scale and entry.author and entry.architecture
        assert all(url.startswith("https://") for url in (entry.source, *entry.urls))
        assert catalog.in_plain_words(entry.license), entry.license
    assert len({entry.file.lower() for entry in entries}) == len(entries)
    assert all(entry.file.endswith((".pth", ".pt", ".safetensors")) for entry in entries)


@pytest.mark.slow
def test_every_model_is_found_by_its_name_in_any_spelling():
    for name in catalog.tables():
        assert weights.entry(name.replace("-", "_").upper(), kind="upscaler").name == name


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("realesrgan-x4plus", "4x-realesrgan-x4plus"),
        ("RealESRGAN_x4plus_anime_6B", "4x-realesrgan-x4plus-anime-6b"),
        ("Real-ESRGAN", "4x-realesrgan-x4plus"),
        ("nomos8ksc", "4x-Nomos8kSC"),
        ("4xNomos8kSC", "4x-Nomos8kSC"),
        ("esrgan", "4x-ESRGAN"),
        ("Compact_X4", "compact-x4"),
        ("ultrasharp", "4x-UltraSharp"),
        ("Remacri", "4x-Remacri"),
        ("siax", "4x-NMKD-Siax-CX"),
    ],
)
def test_aliases(called, name):
    assert weights.entry(called).name == name


def test_of_what_only_a_page_has_the_page_is_named_and_the_file_checked(data):
    entry = weights.entry("ultrasharp", kind="upscaler")
    page = "https://openmodeldb.info/models/4x-UltraSharp"
    for ask in (lambda: weights.fetch(entry), lambda: weights.locate("ultrasharp", kind="upscaler")):
        with pytest.raises(
            WeightsError, match=f"Get it from {page}, then run `sr download-weights 4x-UltraSharp --from"
        ):
            ask()
    (data / "wrong.pth").write_bytes(b"x" * 10)
    with pytest.raises(WeightsError, match="is not 4x-UltraSharp"):
        weights.add("ultrasharp", data / "wrong.pth")


MODEL = {
    "name": "One",
    "author": "somebody",
    "license": "CC-BY-4.0",
    "tags": ["photo", "jpeg"],
    "description": "Words.",
    "date": "2024-05-06",
    "architecture": "esrgan",
    "size": ["64nf", "23nb"],
    "scale": 4,
    "inputChannels": 3,
    "outputChannels": 3,
    "resources": [],
    "trainingIterations": 1000,
    "pretrainedModelG": "4x-ESRGAN",
    "images": [{"type": "paired", "LR": "https://example.com/a.jpg", "SR": "https://example.com/b.jpg"}],
}
FILE = {
    "platform": "pytorch",
    "type": "pth",
    "size": 67010245,
    "sha256": "ab" * 32,
    "urls": ["https://mega.nz/folder/x#y", "https://github.com/somebody/models/raw/main/4xOne.pth"],
}


def test_the_catalog_is_made_from_a_checkout(tmp_path):
    models = {
        "4x-one": {
            "resources": [{**FILE, "platform": "onnx", "type": "onnx"}, FILE],
            "author": ["somebody", "another"],
        },
        "2x-two": {"resources": [FILE | {"urls": ["https://example.com/a%20b.safetensors?download=true"]}], "scale": 2},
        "4x-UltraSharp": {"resources": [FILE | {"urls": ["https://mega.nz/folder/x#y"]}]},
        "4x-only-a-page": {"resources": [FILE | {"urls": ["https://drive.google.com/file/d/x.pth"]}]},
        "4x-no-hash": {"resources": [FILE | {"sha256": None}]},
        "4x-no-size": {"resources": [FILE | {"size": None}]},
        "4x-no-license": {"resources": [FILE], "license": None},
        "1x-of-a-video": {"resources": [FILE], "architecture": "cain"},
        "4x-onnx-only": {"resources": [FILE | {"platform": "onnx"}]},
    }
    folder = tmp_path / "data/models"
    folder.mkdir(parents=True)
    for name, changes in models.items():
        (folder / f"{name}.json").write_text(json.dumps(MODEL | changes, indent=4), "utf-8")
    made = tmp_path / "catalog.json"
    command = [python(), TOOL, str(tmp_path), "--output", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("catalog.json: 3 of 9 models\n")
    rows = json.loads(made.read_text("utf-8"))
    assert [row["name"] for row in rows] == ["2x-two", "4x-one", "4x-UltraSharp"]
    assert rows[1] == {
        "name": "4x-one",
        "scale": 4,
        "architecture": "esrgan",
        "license": "CC-BY-4.0",
        "author": "somebody, another",
        "date": "2024-05-06",
        "tags": ["jpeg", "photo"],
        "size": 67010245,
        "sha256": "ab" * 32,
        "urls": ["https://github.com/somebody/models/raw/main/4xOne.pth"],
    }
    assert rows[0].keys() == rows[2].keys() == next(iter(json.loads(catalog.CATALOG.read_text("utf-8")))).keys()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("realesgran-x4plus", "4x-realesrgan-x4plus"), ("anifilm-compact", "2x-anifilm-compact or 4x-anifilm-compact")],
)
def test_near_misses_are_suggested(typed, meant):
    with pytest.raises(WeightsError, match=f"did you mean {re.escape(meant)}"):
        weights.entry(typed, kind="upscaler")


def test_what_is_downloaded_is_listed_and_the_rest_is_not(data):
    assert not set(weights.entries()) & set(catalog.tables())
    (data / "4x-Nomos8kSC.pth").write_bytes(b"half of it")
    found = weights.entries()["4x-Nomos8kSC"]
    assert (found.scale, found.license, weights.state(found)) == (4, "CC-BY-4.0", "corrupt")


def test_a_mirror_takes_one_line(data):
    (data / "registry.toml").write_text('[4x-Nomos8kSC]\nurls = ["https://mirror.example.com/a.pth"]\n')
    found = weights.entry("nomos8ksc")
    assert found.urls == ("https://mirror.example.com/a.pth",) and found.sha256 and found.file == "4x-Nomos8kSC.pth"


@pytest.mark.parametrize(
    ("license", "free"),
    [("CC-BY-NC-SA-4.0", False), ("CC-BY-4.0", True), ("CC0-1.0", True), ("GPL-3.0-only", True), ("strange", False)],
)
def test_whether_commercial_use_is_allowed(license, free):
    assert catalog.allows_commerce(license) == free


def test_urls_are_known_by_what_they_serve():
    known = weights.catalog_entry("4x-Nomos8kSC")
    assert weights.entry_of_url(known.urls[0]) == known
    new = weights.entry_of_url("https://example.com/a/her%20model.pth?download=true")
    assert (new.name, new.file, new.sha256) == ("her-model", "her-model.pth", None)
    weights.remember(new)
    assert weights.entry_of_url(new.urls[0]).name == "her-model"
    assert weights.entry_of_url("https://example.org/her-model.pth").name.startswith("her-model-")
    for wrong in ("http://example.com/a.pth", "https://example.com/model.zip", "https://example.com/"):
        with pytest.raises(WeightsError):
            weights.entry_of_url(wrong)
