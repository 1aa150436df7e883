"""``sr download-weights``, and the commands that need weights, as a user meets them."""

import hashlib
import json
import os
import pty
import random
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from support.fast_python import python
from support.loopback import Served, serving

CONTENT = random.Random(0).randbytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NEEDS_MINE = "from sr_cli.console.weights import obtain; print(obtain('mine', 'upscaler'))"


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """The data folder of a user who has nothing yet, and no proxy."""
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    for name in ("SR_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "data"


def sr(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [python(), "-m", "sr_cli", "download-weights", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def register(data: Path, **urls: str) -> None:
    data.mkdir()
    (data / "registry.toml").write_text(
        "".join(
            f'[{name}]\nkind = "upscaler"\nscale = 4\nurls = ["{url}"]\nfile = "{name}.bin"\n'
            f'size = {len(CONTENT)}\nsha256 = "{SHA256}"\nlicense = "CC0"\n'
            for name, url in urls.items()
        )
    )


def states(*arguments: object) -> dict[str, str]:
    return {each["name"]: each["state"] for each in json.loads(sr("--list", "--json", *arguments).stdout)}


@pytest.mark.slow
def test_list_download_damage_verify_repair_remove(data):
    with serving({"a": Served(CONTENT)}) as server:
        register(data, mine=server.url("a"))
        listed = sr("--list")
        assert listed.returncode == 0
        assert listed.stdout.splitlines()[0].split() == ["name", "kind", "scale", "size", "state"]
        assert ["mine", "upscaler", "x4", "0.1", "MB", "missing"] in map(str.split, listed.stdout.splitlines())

        run = sr("mine")
        path = data / "mine.bin"
        assert (run.returncode, run.stdout) == (0, f"{path}\n")
        assert "\x1b" not in run.stderr
        assert path.read_bytes() == CONTENT
        assert states("mine") == {"mine": "cached"}
        assert sr("--verify").returncode == 0

        path.write_bytes(b"\x00" + CONTENT[1:])
        run = sr("--verify", "mine")
        assert run.returncode == 4
        assert "`sr download-weights mine --force`" in run.stderr
        assert sr("mine", "--force").returncode == 0
        assert path.read_bytes() == CONTENT
        assert len(server.files["a"].asked) == 2

        assert sr("mine", "--remove").returncode == 0
        assert states("mine") == {"mine": "missing"}


@pytest.mark.slow
def test_json_has_all_fields(data):
    register(data, mine="https://example.com/a")
    (entry,) = json.loads(sr("mine", "--list", "--json").stdout)
    assert entry == {
        "name": "mine",
        "kind": "upscaler",
        "scale": 4,
        "file": "mine.bin",
        "path": str(data / "mine.bin"),
        "urls": ["https://example.com/a"],
        "size": len(CONTENT),
        "sha256": SHA256,
        "architecture": "",
        "author": "",
        "date": "",
        "tags": [],
        "license": "CC0",
        "source": "",
        "note": "",
        "state": "missing",
    }


@pytest.mark.slow
def test_another_folder_another_url_and_a_file(data, tmp_path):
    source, folder = tmp_path / "a file", tmp_path / "else :smile: [red]"
    source.write_bytes(CONTENT)
    with serving({"a": Served(CONTENT)}) as server:
        register(folder, mine="https://example.invalid/a")
        run = sr("mine", "--url", server.url("a"), "--dir", folder)
        assert run.stdout == f"{folder / 'mine.bin'}\n"
        assert (folder / "mine.bin").read_bytes() == CONTENT
        assert not data.exists()
    register(data, mine="https://example.invalid/a")
    assert sr("mine", "--from", source).stdout == f"{data / 'mine.bin'}\n"
    source.write_bytes(b"else")
    assert sr("mine", "--from", source).returncode == 4


@pytest.mark.slow
def test_a_new_name_adds_weights_of_the_user_s(data, tmp_path):
    source = tmp_path / "features.safetensors"
    save_file({"features.0.weight": torch.zeros(3)}, source)
    assert sr("my-vgg", "--from", source).stdout == f"{data / 'my-vgg.safetensors'}\n"
    with serving({"v2.safetensors": Served(source.read_bytes())}) as server:
        assert sr("her-vgg", "--url", server.url("v2.safetensors")).stdout == f"{data / 'her-vgg.safetensors'}\n"
    assert states("my-vgg", "her-vgg") == {"my-vgg": "cached", "her-vgg": "cached"}


@pytest.mark.slow
def test_one_that_fails_does_not_stop_the_others(data):
    with serving({"a": Served(CONTENT)}) as server:
        register(data, broken=server.url("none"), mine=server.url("a"))
        run = sr("broken", "mine")
        assert (run.returncode, run.stdout) == (1, f"{data / 'mine.bin'}\n")
        assert "error: broken: http" in run.stderr
        assert "HTTP 404" in run.stderr
        alone = sr("broken")
        assert alone.returncode == 5
        assert "`sr download-weights broken --from FILE`" in alone.stderr
        assert alone.stderr.count("sr download-weights broken") == 1  # not the command that has just failed


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["--all", "vgg16"], 2),
        (["--list", "--remove"], 2),
        (["--json", "vgg16"], 2),
        (["--from", "x"], 2),
        (["--from", "x", "vgg16", "lpips"], 2),
        (["--url", "http://example.com/x", "vgg16"], 2),
        (["--from", "x", "--url", "https://example.com/x", "vgg16"], 2),
        (["--url", "https://example.com/x", "new"], 4),
        (["--from", "x.pth", "../new"], 4),
        (["unknown"], 4),
    ],
)
@pytest.mark.slow
def test_nonsense_ends_with_one_line_and_changes_nothing(data, arguments, code):
    run = sr(*arguments)
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (code, "", 1), run.stderr
    assert run.stderr.startswith("error: ")
    assert not data.exists()


def test_offline_says_what_to_do(data, monkeypatch):
    monkeypatch.setenv("SR_OFFLINE", "1")
    run = sr("vgg16")
    assert run.returncode == 4
    for remedy in ("SR_OFFLINE", "https://download.pytorch.org", str(data), "--from FILE"):
        assert remedy in run.stderr


def test_off_a_terminal_a_command_fetches_what_it_needs_without_a_question(data):
    with serving({"a": Served(CONTENT)}) as server:
        register(data, mine=server.url("a"))
        command = [python(), "-c", NEEDS_MINE]
        run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert run.stdout == f"{data / 'mine.bin'}\n"
    assert "?" not in run.stderr
    assert "downloaded" in run.stderr


def on_a_terminal(answer: str) -> tuple[int, str]:
    """Run what needs weights on a terminal, and answer its question; the exit code and what the terminal showed."""
    here, there = pty.openpty()
    run = subprocess.Popen([python(), "-c", NEEDS_MINE], stdin=there, stdout=there, stderr=there)
    os.close(there)
    shown, answered = b"", False
    while True:
        try:
            shown += os.read(here, 4096)
        except OSError:  # how Linux says that the other side is closed
            break
        if b"?" in shown and not answered:
            os.write(here, answer.encode())
            answered = True
    os.close(here)
    assert answered, shown
    return run.wait(), shown.decode()


@pytest.mark.parametrize(("answer", "arrives"), [("y\n", True), ("\n", True), ("n\n", False), ("\x04", False)])
@pytest.mark.slow
def test_on_a_terminal_a_command_asks_first(data, answer, arrives):
    with serving({"a": Served(CONTENT)}) as server:
        register(data, mine=server.url("a"))
        code, shown = on_a_terminal(answer)
        assert (data / "mine.bin").exists() == arrives
        assert len(server.files["a"].asked) == arrives
    assert (code == 0) == arrives, shown
    assert arrives or "sr download-weights mine" in shown
