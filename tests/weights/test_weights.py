"""Weights have names; a caller gets an intact file, or learns what to do."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sr_cli import weights
from sr_cli.errors import DownloadError, OutputError, WeightsError
from sr_cli.weights import registry
from support.loopback import Served, serving

CONTENT = random.Random(0).randbytes(100_000)
OTHER = random.Random(1).randbytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
ONCE = weights.RetryPolicy(attempts=1)


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch) -> Path:
    """The data folder of a user who has nothing yet, and no proxy."""
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    for name in ("SR_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


def register(text: str) -> None:
    weights.user_registry_path().parent.mkdir(parents=True, exist_ok=True)
    weights.user_registry_path().write_text(text)


def mine(url: str = "https://example.com/a", **more: object) -> weights.Entry:
    """Register weights called ``mine``."""
    table = {"kind": "upscaler", "urls": [url], "size": len(CONTENT), "sha256": SHA256, **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    register("\n".join(["[mine]", *lines]))
    return weights.entry("mine")


def is_empty(folder: Path) -> bool:
    return {path.name for path in folder.iterdir()} <= {".a.lock", "registry.toml"}


# The registry


def test_vgg16_is_what_torchvision_says():
    from torchvision.models import VGG16_Weights

    entry = weights.entry("vgg16", kind="loss network")
    url = VGG16_Weights.IMAGENET1K_V1.url
    assert entry.urls[0] == url
    assert entry.sha256.startswith(re.search(r"-([0-9a-f]{8})\.pth$", url)[1])
    assert round(entry.size / 2**20, 3) == VGG16_Weights.IMAGENET1K_V1.meta["_file_size"]


def test_the_metrics_weights_are_those_that_piq_asks_for():
    import piq

    assert weights.entry("lpips", kind="metric").urls[0] == piq.LPIPS._weights_url
    assert weights.entry("dists", kind="metric").urls[0] == piq.DISTS._weights_url


def test_every_registered_entry_names_its_license_and_source():
    for entry in weights.entries().values():
        assert entry.license, entry.name
        assert entry.source, entry.name
        assert entry.urls or entry.path, entry.name


def test_users_add_entries_and_override_keys(data):
    before = weights.entry("vgg16")
    register(
        '["a-b"]\nkind = "upscaler"\nscale = 4\nurls = ["https://example.com/x/a.safetensors"]\n'
        '[vgg16]\nurls = ["https://mirror.example.com/vgg.pth"]\nfile = "vgg16-397923af.pth"\n'
    )
    entry = weights.entry("a-b", kind="upscaler")
    assert (entry.scale, weights.path_of(entry)) == (4, data / "a.safetensors")
    assert weights.entry("vgg16") == replace(before, urls=("https://mirror.example.com/vgg.pth",))


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('[x]\nkind = "upscaler"\nurls = ["http://example.com/x.pth"]', "only https"),
        ('[x]\nkind = "upscaler"\nurls = ["https://example.com/..%2f..%2fx.pth"]', "..%2f"),
        ('[x]\nkind = "upscaler"\nurls = ["https://example.com/"]', "file"),
        ('[x]\nkind = "upscaler"\nfile = "../x.pth"', "../x.pth"),
        ('[x]\nkind = "upscaler"\nfile = "a\\\\x.pth"', "x.pth"),
        ('[x]\nkind = "upscaler"\nfile = ".x.part"', ".x.part"),
        ('[x]\nkind = "upscaler"\nfile = "registry.toml"', "registry.toml"),
        ('["../x"]\nkind = "upscaler"\nfile = "x.pth"', "../x"),
        ('[x]\nkind = "toaster"\nfile = "x.pth"', "toaster"),
        ('[x]\nfile = "x.pth"', "kind"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nsha256 = "abc"', "abc"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nsize = -1', "size"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nsize = "1"', "size"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nurls = [1]', "urls"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nhash = "1"', "hash"),
        ('[x]\nkind = "upscaler"\nfile = "VGG16-397923af.pth"', "VGG16"),
        ("x = 1", "x"),
        ("[x", "cannot be read"),
    ],
)
def test_nonsense_in_the_users_registry_is_named_with_the_file(table, complaint):
    register(table)
    with pytest.raises(WeightsError) as caught:
        weights.entries()
    assert str(weights.user_registry_path()) in str(caught.value)
    assert complaint.replace("%2f", "/") in str(caught.value)


def test_an_unknown_name_brings_up_the_closest_one_of_its_kind():
    with pytest.raises(WeightsError, match=r"did you mean vgg16\?"):
        weights.locate("vg16", kind="loss network")
    with pytest.raises(WeightsError, match="loss network, not upscaler"):
        weights.entry("vgg16", kind="upscaler")


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> Path:
    """Weights that ship with the package."""
    folder = tmp_path / "pretrained"
    folder.mkdir()
    shutil.copy(registry.PRETRAINED / "registry.toml", folder)
    monkeypatch.setattr(registry, "PRETRAINED", folder)
    path = folder / "compact-x4.safetensors"
    header = {"format": "sr-cli 1", "architecture": json.dumps({"name": "compact", "scale": 4}), "licence": '"MIT"'}
    save_file({"weight": torch.zeros(3)}, path, header)
    return path


def test_shipped_weights_describe_themselves_and_stay(shipped):
    entry = weights.entry("compact-x4", kind="upscaler")
    assert (entry.scale, entry.license, entry.size) == (4, "MIT", shipped.stat().st_size)
    assert weights.state(entry) == "shipped"
    assert weights.locate("compact-x4", kind="upscaler") == weights.fetch(entry) == shipped
    for refused in (lambda: weights.remove("compact-x4"), lambda: weights.add("compact-x4", shipped)):
        with pytest.raises(WeightsError, match="ships with the package"):
            refused()
    shipped.write_bytes(shipped.read_bytes()[:-1])
    assert weights.state(weights.entry("compact-x4")) == "corrupt"
    with pytest.raises(WeightsError, match="reinstall"):
        weights.locate("compact-x4", kind="upscaler")


# The data folder


def test_the_folder_is_the_users_unless_the_environment_says_otherwise(tmp_path, monkeypatch):
    assert weights.data_dir() == tmp_path / "data"
    monkeypatch.delenv("SR_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert weights.data_dir() == tmp_path / "share" / "sr-cli"


def test_what_is_missing_is_named_with_command_url_and_path(data):
    with pytest.raises(WeightsError) as caught:
        weights.locate("vgg16", kind="loss network")
    for remedy in ("`sr download-weights vgg16`", weights.entry("vgg16").urls[0], str(data / "vgg16-397923af.pth")):
        assert remedy in str(caught.value)


def test_weights_arrive_once(data):
    with serving({"a": Served(CONTENT)}) as server:
        entry = mine(server.url("a"))
        assert weights.state(entry) == "missing"
        path = weights.fetch(entry)
        assert (path, path.read_bytes()) == (data / "a", CONTENT)
        assert weights.fetch(entry) == weights.locate("mine", kind="upscaler") == path
        assert len(server.files["a"].asked) == 1
        weights.fetch(entry, force=True)
        assert len(server.files["a"].asked) == 2
    assert weights.state(entry, verify=True) == "cached"


def test_a_wrong_size_is_found_at_once_and_wrong_bytes_by_verifying():
    with serving({"a": Served(CONTENT)}) as server:
        entry = mine(server.url("a"))
        path = weights.fetch(entry)
        for damaged in (CONTENT[:-1], b""):
            path.write_bytes(damaged)
            assert weights.state(entry) == "corrupt"
            with pytest.raises(WeightsError, match="damaged"):
                weights.locate("mine", kind="upscaler")
            assert weights.fetch(entry).read_bytes() == CONTENT
        path.write_bytes(b"\x00" + CONTENT[1:])
    assert [weights.state(entry), weights.state(entry, verify=True)] == ["cached", "corrupt"]


def test_offline_nothing_is_requested_and_what_is_here_is_found(data, monkeypatch):
    monkeypatch.setenv("SR_OFFLINE", "1")
    with serving({"a": Served(CONTENT)}) as server:
        entry = mine(server.url("a"))
        with pytest.raises(WeightsError, match=r"SR_OFFLINE.*--from FILE"):
            weights.fetch(entry)
        assert server.files["a"].asked == []
    (data / "a").write_bytes(CONTENT)
    assert weights.fetch(entry).read_bytes() == CONTENT


@pytest.mark.slow
def test_a_file_for_a_known_name_must_be_the_right_one(tmp_path):
    entry = mine()
    right, wrong, short = tmp_path / "right", tmp_path / "wrong", tmp_path / "short"
    right.write_bytes(CONTENT)
    wrong.write_bytes(OTHER)
    short.write_bytes(CONTENT[:10])
    for file in (wrong, short, tmp_path / "none"):
        with pytest.raises(WeightsError, match=str(file)):
            weights.add("mine", file)
        assert weights.state(entry) == "missing"
    assert weights.add("mine", right).read_bytes() == CONTENT
    assert weights.add("mine", weights.path_of(entry)).read_bytes() == right.read_bytes() == CONTENT


def test_a_file_that_no_registry_names_is_replaced_by_one_of_another_size(tmp_path):
    for name, length in (("first", 3), ("second", 5)):
        save_file({"weight": torch.zeros(length)}, tmp_path / f"{name}.safetensors")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "third.pth")
    weights.add("own", tmp_path / "first.safetensors")
    path = weights.add("own", tmp_path / "second.safetensors")
    assert path.read_bytes() == (tmp_path / "second.safetensors").read_bytes()
    with pytest.raises(WeightsError, match=r"own is own\.safetensors; .*--remove"):
        weights.add("own", tmp_path / "third.pth")
    with pytest.raises(WeightsError, match=r"own cannot be downloaded\. It has no URL: .*--from FILE"):
        weights.fetch(weights.entry("own"), force=True)
    assert path.exists()


@pytest.mark.slow
def test_a_file_for_a_new_name_tells_what_it_is(tmp_path, data):
    header = {"architecture": json.dumps({"name": "compact", "scale": 3}), "note": '"sharp"'}
    save_file({"weight": torch.zeros(3)}, tmp_path / "best.safetensors", header)
    save_file({"features.0.weight": torch.zeros(3)}, tmp_path / "vgg.safetensors")
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "vgg.pth")
    torch.save({"conv.features.0.weight": torch.zeros(3)}, tmp_path / "theirs.pt")
    for file, name, kind in [
        ("best.safetensors", "my-x3", "upscaler"),
        ("vgg.safetensors", "my-vgg", "loss network"),
        ("vgg.pth", "her-vgg", "loss network"),
        ("theirs.pt", "her-x4", "upscaler"),
    ]:
        path = weights.add(name, tmp_path / file)
        assert path == data / f"{name}{Path(file).suffix}" == weights.locate(name, kind=kind)
    entry = weights.entry("my-x3")
    assert (entry.scale, entry.note, weights.state(entry, verify=True)) == (3, "sharp", "cached")
    assert weights.remove("my-x3")
    assert "my-x3" not in weights.entries()


@pytest.mark.parametrize(
    ("name", "file"), [("../x", "x.pth"), ("", "x.pth"), ("registry", "x.toml"), ("x", "damaged.safetensors")]
)
def test_a_new_name_is_a_plain_name_and_its_file_is_a_weights_file(tmp_path, data, name, file):
    (tmp_path / file).write_bytes(CONTENT)
    with pytest.raises(WeightsError):
        weights.add(name, tmp_path / file)
    assert not data.exists()


@pytest.mark.slow
def test_what_is_removed_is_gone_with_all_that_belongs_to_it(data):
    with serving({"a": Served(CONTENT, cuts=[50_000])}) as server:
        entry = mine(server.url("a"))
        assert not weights.remove("mine")
        with pytest.raises(DownloadError):
            weights.fetch(entry, retries=ONCE)
        assert weights.remove("mine")
        assert is_empty(data)
        weights.fetch(entry)
        assert weights.remove("mine")
        assert is_empty(data)
        assert not weights.remove("mine")


@pytest.fixture
def read_only(data):
    """Makes the data folder read-only, for root too where it may mount."""
    mounted = []

    def make() -> None:
        data.chmod(0o555)
        if not os.access(data, os.W_OK):
            return
        bind = [["mount", "--bind", data, data], ["mount", "-o", "remount,ro,bind", data]]
        if not shutil.which("mount") or any(subprocess.run(each, capture_output=True).returncode for each in bind):
            pytest.skip("this user writes everywhere, and cannot mount")
        mounted.append(data)

    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)
    if data.exists():
        data.chmod(0o755)


@pytest.mark.parametrize("is_here", [False, True])
def test_a_read_only_folder_gives_what_it_has(data, read_only, is_here):
    with serving({"a": Served(CONTENT)}) as server:
        entry = mine(server.url("a"))
        if is_here:
            (data / "a").write_bytes(CONTENT)
        read_only()
        if is_here:
            assert weights.fetch(entry) == weights.locate("mine", kind="upscaler") == data / "a"
        else:
            with pytest.raises(OutputError, match=f"{data}.*SR_DATA_DIR"):
                weights.fetch(entry)
        assert server.files["a"].asked == []


FETCH = "import os, signal; from sr_cli import weights; print(weights.fetch(weights.entry('mine'){}))"


@pytest.mark.slow
def test_ten_processes_that_start_together_download_once():
    with serving({"a": Served(CONTENT, pause=0.3)}) as server:
        mine(server.url("a"))
        command = [sys.executable, "-c", FETCH.format("")]
        runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(10)]
        paths = {run.communicate()[0].strip() for run in runs}
        assert [run.returncode for run in runs] == [0] * 10
        assert paths == {str(weights.locate("mine", kind="upscaler"))}
        assert len(server.files["a"].asked) == 1


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_its_lock_free_and_its_bytes_to_the_next():
    with serving({"a": Served(CONTENT, pause=0.2)}) as server:
        entry = mine(server.url("a"))
        kill = ", on_progress=lambda p: p.done > 40_000 and os.kill(os.getpid(), signal.SIGKILL)"
        assert subprocess.run([sys.executable, "-c", FETCH.format(kill)]).returncode == -9
        server.files["a"].pause = 0
        assert weights.fetch(entry).read_bytes() == CONTENT
        assert len(server.files["a"].asked) == 2
        assert "Range" in server.files["a"].asked[1]


def test_nothing_here_needs_torch():
    program = "import sys, sr_cli.console.weights, sr_cli.cli.download_weights; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
