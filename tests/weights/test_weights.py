"""Weights have names; whoever asks gets an intact file, or is told what to do."""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sr_cli import weights
from sr_cli.errors import DownloadError, OutputError, WeightsError
from sr_cli.weights import registry
from sr_cli.weights.receipts import receipt_of
from support.loopback import Served, serving

CONTENT = random.Random(0).randbytes(100_000)
OTHER = random.Random(1).randbytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HASTE = weights.Patience(attempts=2, connect=5, read=5, backoff=0.001)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """A user who has nothing yet, and no proxy."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    for name in ("SR_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_own(text: str) -> None:
    weights.own_registry().parent.mkdir(parents=True, exist_ok=True)
    weights.own_registry().write_text(text)


def mine(url: str, **more: object) -> None:
    """Register weights called ``mine``."""
    table = {"kind": "upscaler", "urls": [url], "size": len(CONTENT), "sha256": SHA256, **more}
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    write_own("\n".join(["[mine]", *lines]))


# The registry


def test_vgg16_is_what_torchvision_says():
    from torchvision.models import VGG16_Weights

    entry = weights.entry("vgg16", kind="loss network")
    url = VGG16_Weights.IMAGENET1K_V1.url
    assert entry.urls[0] == url
    prefix = re.search(r"-([0-9a-f]{8})\.pth$", url)
    assert prefix is not None
    assert entry.sha256 is not None
    assert entry.sha256.startswith(prefix[1])
    assert round(entry.size / 2**20, 3) == VGG16_Weights.IMAGENET1K_V1.meta["_file_size"]


def test_the_metrics_weights_are_those_that_piq_asks_for():
    import piq

    assert weights.entry("lpips", kind="metric").urls[0] == piq.LPIPS._weights_url
    assert weights.entry("dists", kind="metric").urls[0] == piq.DISTS._weights_url


def test_every_registered_entry_says_whose_it_is():
    for entry in weights.entries().values():
        if entry.path is None:
            assert entry.urls, entry.name
            assert entry.license, entry.name
            assert entry.source, entry.name


def test_users_add_entries_of_their_own(home):
    write_own('["a-b"]\nkind = "upscaler"\nscale = 4\nurls = ["https://example.com/x/a.safetensors"]\n')
    entry = weights.entry("a-b", kind="upscaler")
    assert (entry.file, entry.scale) == ("a.safetensors", 4)
    assert weights.path_of(entry) == home / "data" / "a.safetensors"
    assert "vgg16" in weights.entries()


def test_a_mirror_of_the_users_needs_one_line():
    before = weights.entry("vgg16")
    write_own('[vgg16]\nurls = ["https://mirror.example.com/vgg.pth"]\nfile = "vgg16-397923af.pth"\n')
    after = weights.entry("vgg16")
    assert after.urls == ("https://mirror.example.com/vgg.pth",)
    assert (after.sha256, after.size, after.file) == (before.sha256, before.size, before.file)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('[x]\nkind = "upscaler"\nurls = ["http://example.com/x.pth"]', "only https"),
        ('[x]\nkind = "upscaler"\nurls = ["https://example.com/..%2f..%2fx.pth"]', "plain name"),
        ('[x]\nkind = "upscaler"\nurls = ["https://example.com/"]', "neither urls nor file"),
        ('[x]\nkind = "upscaler"\nfile = "../x.pth"', "plain name"),
        ('[x]\nkind = "upscaler"\nfile = "a/x.pth"', "plain name"),
        ('[x]\nkind = "upscaler"\nfile = "a\\\\x.pth"', "plain name"),
        ('[x]\nkind = "upscaler"\nfile = ".x.part"', "plain name"),
        ('["../x"]\nkind = "upscaler"\nfile = "x.pth"', "plain name"),
        ('[x]\nkind = "toaster"\nfile = "x.pth"', "toaster"),
        ('[x]\nfile = "x.pth"', "kind is missing"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nsha256 = "abc"', "64 hexadecimal"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nsize = -1', "size -1"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nsize = "1"', "wrong type"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nurls = [1]', "wrong type"),
        ('[x]\nkind = "upscaler"\nfile = "x.pth"\nhash = "1"', "unknown key 'hash'"),
        ('[x]\nkind = "upscaler"\nfile = "VGG16-397923af.pth"', "share the file name"),
        ("x = 1", "outside any"),
        ("[x", "cannot be read"),
    ],
)
def test_nonsense_in_the_users_registry_is_named_with_the_file(table, complaint):
    write_own(table)
    with pytest.raises(WeightsError, match=re.escape(complaint)) as caught:
        weights.entries()
    assert str(weights.own_registry()) in str(caught.value)


def test_an_unknown_name_brings_up_the_closest_ones():
    with pytest.raises(WeightsError, match=r"no loss network called 'vg16'; did you mean vgg16\? Known: vgg16"):
        weights.locate("vg16", kind="loss network")


def test_a_name_of_another_kind_is_said_to_be_one():
    with pytest.raises(WeightsError, match="vgg16 is of the kind loss network, not upscaler"):
        weights.entry("vgg16", kind="upscaler")


@pytest.fixture
def shipped(home, monkeypatch) -> Path:
    """Weights that ship with the package."""
    folder = home / "pretrained"
    folder.mkdir()
    shutil.copy(registry.PRETRAINED / "registry.toml", folder)
    monkeypatch.setattr(registry, "PRETRAINED", folder)
    path = folder / "compact-x4.safetensors"
    header = {"format": "sr-cli 1", "architecture": json.dumps({"name": "compact", "scale": 4}), "license": '"MIT"'}
    save_file({"weight": torch.zeros(3)}, path, header)
    return path


def test_shipped_weights_describe_themselves(shipped):
    entry = weights.entry("compact-x4", kind="upscaler")
    assert (entry.scale, entry.license, entry.size) == (4, "MIT", shipped.stat().st_size)
    assert weights.state(entry) == "shipped"
    assert weights.locate("compact-x4", kind="upscaler") == shipped
    assert weights.fetch("compact-x4") == shipped


def test_shipped_weights_that_are_cut_short_are_corrupt(shipped):
    shipped.write_bytes(shipped.read_bytes()[:-1])
    assert weights.state(weights.entry("compact-x4")) == "corrupt"
    with pytest.raises(WeightsError, match="install sr-cli again"):
        weights.locate("compact-x4", kind="upscaler")


def test_shipped_weights_are_not_removed(shipped):
    with pytest.raises(WeightsError, match="ships with the package"):
        weights.remove("compact-x4")
    assert shipped.exists()


# The folder


def test_the_folder_is_the_users_unless_the_environment_says_otherwise(home, monkeypatch):
    assert weights.data_dir() == home / "data"
    monkeypatch.delenv("SR_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "share"))
    assert weights.data_dir() == home / "share" / "sr-cli"


def test_what_is_missing_is_told_with_command_url_and_path(home):
    with pytest.raises(WeightsError) as caught:
        weights.locate("vgg16", kind="loss network")
    message = str(caught.value)
    assert "`sr download-weights vgg16`" in message
    assert "https://download.pytorch.org/models/vgg16-397923af.pth" in message
    assert str(home / "data" / "vgg16-397923af.pth") in message
    assert "--from FILE" in message


def test_weights_arrive_once(home):
    with serving({"a": Served(CONTENT)}) as server:
        mine(server.url("a"))
        assert weights.state(weights.entry("mine")) == "missing"
        path = weights.fetch("mine")
        assert (path, path.read_bytes()) == (home / "data" / "a", CONTENT)
        assert weights.fetch("mine") == weights.locate("mine", kind="upscaler") == path
        assert len(server.files["a"].asked) == 1
        weights.fetch("mine", force=True)
        assert len(server.files["a"].asked) == 2
    assert weights.state(weights.entry("mine")) == "cached"


def test_damage_is_found_and_repaired():
    with serving({"a": Served(CONTENT)}) as server:
        mine(server.url("a"))
        path = weights.fetch("mine")
        for damaged in (b"\x00" + CONTENT[1:], CONTENT[:-1], b""):
            path.write_bytes(damaged)
            assert weights.state(weights.entry("mine")) == "corrupt"
            with pytest.raises(WeightsError, match="is damaged"):
                weights.locate("mine", kind="upscaler")
            assert weights.fetch("mine").read_bytes() == CONTENT
            assert weights.state(weights.entry("mine")) == "cached"


def test_damage_that_leaves_no_trace_is_found_by_hashing_and_stays_known():
    with serving({"a": Served(CONTENT)}) as server:
        mine(server.url("a"))
        path = weights.fetch("mine")
    stat = path.stat()
    path.write_bytes(b"\x00" + CONTENT[1:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert weights.state(weights.entry("mine"), thorough=True) == "corrupt"
    assert weights.state(weights.entry("mine")) == "corrupt"


def test_a_hash_that_nobody_published_is_noted_and_holds():
    with serving({"a": Served(CONTENT)}) as server:
        mine(server.url("a"), size=None, sha256=None)
        path = weights.fetch("mine")
        assert json.loads(receipt_of(path).read_text())["sha256"] == SHA256
        path.write_bytes(OTHER)
        assert weights.state(weights.entry("mine")) == "corrupt"
        server.files["a"].content = OTHER
        with pytest.raises(DownloadError, match="SHA-256"):
            weights.fetch("mine", patience=HASTE)
        weights.remove("mine")
        assert weights.fetch("mine").read_bytes() == OTHER


def test_a_url_of_the_callers_is_checked_with_the_registered_hash():
    with serving({"a": Served(OTHER), "b": Served(CONTENT)}) as server:
        mine("https://example.invalid/x.bin")
        with pytest.raises(DownloadError, match="SHA-256"):
            weights.fetch("mine", urls=[server.url("a")], patience=HASTE)
        assert weights.fetch("mine", urls=[server.url("b")]).read_bytes() == CONTENT
    with pytest.raises(ValueError, match="only https"):
        weights.fetch("mine", urls=["http://example.com/a"])


def test_offline_nothing_is_asked_and_what_is_here_is_found(monkeypatch):
    monkeypatch.setenv("SR_OFFLINE", "1")
    with serving({"a": Served(CONTENT)}) as server:
        mine(server.url("a"))
        with pytest.raises(WeightsError, match=r"SR_OFFLINE is set.*--from FILE"):
            weights.fetch("mine")
        assert server.files["a"].asked == []
    (weights.data_dir()).mkdir()
    (weights.data_dir() / "a").write_bytes(CONTENT)
    assert weights.fetch("mine").read_bytes() == CONTENT


def test_a_file_from_elsewhere_is_taken_if_it_is_the_right_one(home):
    mine("https://example.com/x.bin")
    right, wrong, short = home / "right", home / "wrong", home / "short"
    right.write_bytes(CONTENT)
    wrong.write_bytes(OTHER)
    short.write_bytes(CONTENT[:10])
    for file, complaint in ((wrong, "SHA-256"), (short, "10 bytes"), (home / "none", "cannot be read")):
        with pytest.raises(WeightsError, match=complaint):
            weights.add("mine", file)
        assert weights.state(weights.entry("mine")) == "missing"
    assert weights.add("mine", right).read_bytes() == CONTENT
    assert right.exists()
    assert weights.add("mine", weights.locate("mine", kind="upscaler")).read_bytes() == CONTENT


def test_weights_of_the_users_own_are_noted_with_their_hash(home):
    source = home / "features.safetensors"
    source.write_bytes(CONTENT)
    new = weights.Entry(name="my-vgg", kind="loss network", file="my-vgg.safetensors", note='of "mine" – ✓\n')
    path = weights.adopt(new, source=source)
    entry = weights.entry("my-vgg", kind="loss network")
    assert (entry.sha256, entry.size, entry.note) == (SHA256, len(CONTENT), new.note)
    assert weights.locate("my-vgg", kind="loss network") == path == home / "data" / "my-vgg.safetensors"
    path.unlink()
    with pytest.raises(WeightsError, match=r"no URL: put a copy at .*my-vgg\.safetensors"):
        weights.locate("my-vgg", kind="loss network")
    source.write_bytes(OTHER)
    with pytest.raises(WeightsError, match="SHA-256"):
        weights.add("my-vgg", source)


def test_weights_of_the_users_own_come_from_a_url_too():
    write_own("# a remark\n")
    with serving({"a.pth": Served(CONTENT)}) as server:
        for name in ("one", "two"):
            weights.adopt(weights.Entry(name=name, kind="upscaler", file=f"{name}.pth", urls=(server.url("a.pth"),)))
        assert weights.remove("one")
        assert weights.fetch("one").read_bytes() == CONTENT
    assert weights.entry("two").sha256 == SHA256
    assert weights.own_registry().read_text().startswith("# a remark\n")


def test_the_scale_of_the_users_own_is_read_from_the_file(home):
    source = home / "trained.safetensors"
    save_file({"weight": torch.zeros(3)}, source, {"architecture": json.dumps({"name": "compact", "scale": 3})})
    weights.adopt(weights.Entry(name="trained", kind="upscaler", file="trained.safetensors"), source=source)
    assert weights.entry("trained").scale == 3


@pytest.mark.parametrize(("name", "file"), [("vgg16", "other.pth"), ("other", "vgg16-397923af.pth")])
def test_a_name_that_is_taken_is_not_overwritten(home, name, file):
    source = home / "source"
    source.write_bytes(CONTENT)
    with pytest.raises(WeightsError, match=r"taken|share"):
        weights.adopt(weights.Entry(name=name, kind="upscaler", file=file), source=source)
    assert not weights.own_registry().exists()
    assert not weights.data_dir().exists()


def test_what_is_removed_is_gone_with_all_that_belongs_to_it():
    with serving({"a": Served(CONTENT, cuts=[50_000, 50_000])}) as server:
        mine(server.url("a"))
        assert not weights.remove("mine")
        with pytest.raises(DownloadError):
            weights.fetch("mine", patience=weights.Patience(attempts=1))
        assert weights.remove("mine")
        assert {path.name for path in weights.data_dir().iterdir()} == {".a.lock"}
        with pytest.raises(DownloadError):
            weights.fetch("mine", patience=weights.Patience(attempts=1))
        weights.fetch("mine")
        assert weights.remove("mine")
        assert {path.name for path in weights.data_dir().iterdir()} == {".a.lock"}
        assert not weights.remove("mine")


@pytest.fixture
def read_only():
    """Makes the weights folder read-only, for root too where it may mount."""
    mounted = []

    def make() -> None:
        folder = weights.data_dir()
        folder.chmod(0o555)
        if not os.access(folder, os.W_OK):
            return
        bind = [["mount", "--bind", folder, folder], ["mount", "-o", "remount,ro,bind", folder]]
        if not shutil.which("mount") or any(subprocess.run(each, capture_output=True).returncode for each in bind):
            pytest.skip("this user writes everywhere, and cannot mount")
        mounted.append(folder)

    yield make
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)
    if weights.data_dir().exists():
        weights.data_dir().chmod(0o755)


def test_a_read_only_folder_gives_what_it_has(read_only):
    mine("https://example.com/a")
    weights.data_dir().mkdir()
    path = weights.data_dir() / "a"
    path.write_bytes(CONTENT)
    read_only()
    assert weights.fetch("mine") == weights.locate("mine", kind="upscaler") == path


def test_a_read_only_folder_that_lacks_something_is_named_with_the_remedy(read_only):
    weights.data_dir().mkdir()
    read_only()
    with serving({"a": Served(CONTENT)}) as server:
        mine(server.url("a"))
        with pytest.raises(OutputError, match=rf"{weights.data_dir()}: cannot be written .*SR_DATA_DIR"):
            weights.fetch("mine")
        assert server.files["a"].asked == []


def test_ten_processes_that_start_together_download_once():
    with serving({"a": Served(CONTENT, pause=0.3)}) as server:
        mine(server.url("a"))
        program = "from sr_cli import weights; print(weights.fetch('mine'))"
        runs = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(10)]
        paths = {run.communicate()[0].strip() for run in runs}
        assert [run.returncode for run in runs] == [0] * 10
        assert paths == {str(weights.locate("mine", kind="upscaler"))}
        assert len(server.files["a"].asked) == 1


def test_a_process_that_is_killed_leaves_its_lock_free_and_its_bytes_to_the_next():
    with serving({"a": Served(CONTENT, pause=0.2)}) as server:
        mine(server.url("a"))
        program = (
            "import os, signal; from sr_cli import weights\n"
            "weights.fetch('mine', on_progress=lambda p: p.done > 40_000 and os.kill(os.getpid(), signal.SIGKILL))"
        )
        assert subprocess.run([sys.executable, "-c", program]).returncode == -9
        server.files["a"].pause = 0
        assert weights.fetch("mine").read_bytes() == CONTENT
        assert len(server.files["a"].asked) == 2
        assert "Range" in server.files["a"].asked[1]


def test_nothing_here_needs_torch():
    program = "import sys, sr_cli.console.weights, sr_cli.cli.download_weights; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
