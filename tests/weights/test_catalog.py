"""The catalog of community models: what it holds, and the names that find a model in it."""

import re

import pytest

from sr_cli import weights
from sr_cli.errors import WeightsError
from sr_cli.weights import catalog


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path))
    return tmp_path


def test_every_model_can_be_downloaded_and_checked():
    entries = [weights.catalog_entry(name) for name in catalog.tables()]
    assert len(entries) > 200
    for entry in entries:
        assert entry.sha256 and entry.size and entry.scale and entry.author and entry.architecture
        assert all(url.startswith("https://") for url in entry.urls)
        assert catalog.in_plain_words(entry.license), entry.license
    assert len({entry.file.lower() for entry in entries}) == len(entries)


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
    ],
)
def test_aliases(called, name):
    assert weights.entry(called).name == name


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
