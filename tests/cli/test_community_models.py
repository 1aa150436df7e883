"""Models of other projects, as a user meets them: quiet, by name, downloaded, checked."""

import hashlib
import io
import json
import subprocess
import sys

import pytest
import torch
from PIL import Image
from rich.console import Console

from sr_cli import console, weights
from sr_cli.cli.completion import completer
from sr_cli.console import models
from support.fast_python import python
from support.loopback import Served, serving
from support.other_projects import network as other_network

NAME = "4x-Nomos8kSC"


@pytest.mark.slow
def test_warnings_of_libraries_never_reach_a_quiet_run(tmp_path):
    network = other_network("SwinIR",
        img_size=16, embed_dim=12, depths=[1], num_heads=[2], window_size=8, upscale=2,
        upsampler="pixelshuffledirect", mlp_ratio=2,
    )  # fmt: skip
    torch.save(network.state_dict(), tmp_path / "swin.pth")
    Image.new("RGB", (20, 21), "teal").save(tmp_path / "small.png")
    command = [sys.executable, "-m", "sr_cli", "upscale", "small.png", "--model", "swin.pth", "-o", "large.png"]
    done = subprocess.run([*command, "--quiet"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert Image.open(tmp_path / "large.png").size == (40, 42)


@pytest.fixture
def model():
    """The bytes of a tiny network, as another project would save it."""
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save({"params_ema": other_network("Compact", num_feat=8, num_conv=1, upscale=4).state_dict()}, file)
    return file.getvalue()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a picture, for a user who has no weights yet."""
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    for name in ("SR_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "photos").mkdir()
    Image.effect_noise((48, 40), 64).convert("RGB").save(tmp_path / "photos/small.png")
    return tmp_path


def sr(here, *arguments):
    return subprocess.run(
        [python(), "-m", "sr_cli", *map(str, arguments)],
        cwd=here, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip


@pytest.fixture
def served(here, model):
    """A server that has the file of a model of the catalog."""
    with serving({"nomos.pth": Served(model)}) as server:
        (here / "data").mkdir()
        digest = hashlib.sha256(model).hexdigest()
        (here / "data/registry.toml").write_text(
            f'[{NAME}]\nurls = ["{server.url("nomos.pth")}"]\nsize = {len(model)}\nsha256 = "{digest}"\n'
        )
        yield server


@pytest.mark.slow
def test_search_show_download_verify_upscale_remove(here, served):
    found = json.loads(sr(here, "models", "--catalog", "nomos8k", "--license", "free", "--json").stdout)
    assert NAME in [each["name"] for each in found]
    shown = sr(here, "models", "nomos8ksc").stdout
    assert "commercial use allowed; credit the author" in shown and "not downloaded" in shown
    assert "s per megapixel of the result here, to judge by its size" in shown

    refused = sr(here, "upscale", "photos/small.png", "--model", "nomos8ksc", "-o", "large.png")
    assert refused.returncode == 4
    assert refused.stderr == f"error: {NAME} is not here yet: run `sr download-weights {NAME}`, or add --yes\n"
    assert not served.files["nomos.pth"].asked

    assert sr(here, "download-weights", "NOMOS8kSC").stdout == f"{here / 'data' / NAME}.pth\n"
    assert sr(here, "download-weights", NAME, "--verify").returncode == 0
    done = sr(here, "upscale", "photos/small.png", "--model", "4xNomos8kSC", "-o", "large.png")
    assert done.returncode == 0, done.stderr
    assert Image.open(here / "large.png").size == (192, 160)
    assert "s per megapixel" in sr(here, "models", NAME).stdout
    measured = sr(here, "evaluate", "photos", "--model", "nomos8ksc", "--metrics", "psnr", "--json")
    assert measured.returncode == 0, measured.stderr
    assert NAME in [each["name"] for each in json.loads(measured.stdout)["methods"]]
    assert sr(here, "download-weights", "nomos8ksc", "--remove").returncode == 0
    assert not (here / "data" / f"{NAME}.pth").exists()
    assert len(served.files["nomos.pth"].asked) == 1


@pytest.mark.slow
def test_with_yes_it_is_downloaded_and_a_wrong_file_is_refused(here, served):
    done = sr(here, "upscale", "photos/small.png", "--model", "nomos8ksc", "-o", "large.png", "--yes")
    assert done.returncode == 0 and "SHA-256 verified" in done.stderr
    sr(here, "download-weights", NAME, "--remove")
    content = served.files["nomos.pth"].content
    served.files["nomos.pth"].content = content[:-1] + b"?"
    done = sr(here, "upscale", "photos/small.png", "--model", "nomos8ksc", "-o", "again.png", "--yes")
    assert done.returncode == 5 and "SHA-256" in done.stderr
    assert not (here / "again.png").exists()


@pytest.mark.slow
def test_an_address_is_downloaded_once_and_remembered(here, served, model):
    served.files["mine.pth"] = Served(model)
    url = served.url("mine.pth")
    upscale = ["upscale", "photos/small.png", "-o", "large.png", "--if-exists", "overwrite", "--model"]
    assert sr(here, *upscale, url).returncode == 4
    done = sr(here, *upscale, url, "--yes")
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(model).hexdigest() in done.stderr
    for model_again in (url, "mine"):
        assert sr(here, *upscale, model_again).returncode == 0
    assert len(served.files["mine.pth"].asked) == 1
    (here / "data/mine.pth").write_bytes(b"x" * len(model))
    assert sr(here, "download-weights", "mine", "--verify").returncode == 4


@pytest.mark.slow
def test_a_page_in_the_place_of_weights_is_refused(here, served):
    served.files["page.pth"] = Served(b"<!doctype html><html>sign in</html>")
    done = sr(here, "upscale", "photos/small.png", "-o", "large.png", "--model", served.url("page.pth"), "--yes")
    assert done.returncode == 5 and "an HTML page" in done.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("served")
def test_training_takes_names(here):
    options = ["--crop-size", 64, "--batch-size", 1, "--steps", 1, "--validation-photos", 0, "--device", "cpu"]
    Image.effect_noise((160, 160), 64).convert("RGB").save(here / "photos/large.png")
    assert sr(here, "train", "photos", "--init", "nomos8ksc", *options, "--name", "a").returncode == 4
    done = sr(here, "train", "photos", "--init", "nomos8ksc", *options, "--name", "a", "--yes")
    assert done.returncode == 0, done.stderr
    loss = ["--loss", "pixel:l1=1+teacher:l1=1"]
    done = sr(here, "train", "photos", "--teacher", "nomos8ksc", *loss, *options, "--name", "b", "--scale", 4)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("terminal", [True, False])
def test_on_a_narrow_terminal_only_the_purposes_are_cut(monkeypatch, terminal):
    out = Console(file=io.StringIO(), width=90, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(console, "out", out)
    entry = weights.catalog_entry("2x-realesrganv2-animevideo-xsx2")
    models.show_catalog([(entry, "cached")], of=1)
    shown = out.file.getvalue()
    assert all(each in shown for each in (entry.name + " *", "x2", "compact", "2.4 MB", "BSD-3-Clause"))
    assert (entry.tags[-1] in shown) != terminal
    assert not terminal or max(map(len, shown.splitlines())) <= 90


@pytest.mark.usefixtures("here")
def test_shells_complete_names():
    complete = completer("model")
    assert complete and NAME in complete("4x-Nom") and complete("compact-x")[0] == "compact-x2"
    assert NAME in complete("nomos8k") and complete("ULTRAS") == ["4x-UltraSharp"] and len(complete("")) > 200
