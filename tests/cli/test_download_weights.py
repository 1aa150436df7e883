"""``sr download-weights``, and the commands that need weights, as a user meets them."""

import hashlib
import json
import os
import pty
import random
import subprocess
import sys
from pathlib import Path

import pytest

from support.loopback import Served, serving

CONTENT = random.Random(0).randbytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NEEDS_MINE = "from sr_cli.console.weights import obtain; print(obtain('mine', 'upscaler'))"


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A user who has nothing yet, and no proxy."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SR_DATA_DIR", str(tmp_path / "data"))
    for name in ("SR_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def sr(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sr_cli", "download-weights", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def register(home: Path, **urls: str) -> None:
    registry = home / "config" / "sr-cli" / "registry.toml"
    registry.parent.mkdir(parents=True, exist_ok=True)
    registry.write_text(
        "".join(
            f'[{name}]\nkind = "upscaler"\nscale = 4\nurls = ["{url}"]\nfile = "{name}.bin"\n'
            f'size = {len(CONTENT)}\nsha256 = "{SHA256}"\nlicense = "CC0"\n'
            for name, url in urls.items()
        )
    )


def states(*arguments: object) -> dict[str, str]:
    return {each["name"]: each["state"] for each in json.loads(sr("--list", "--json", *arguments).stdout)}


def test_list_download_damage_verify_repair_remove(home):
    with serving({"a": Served(CONTENT)}) as server:
        register(home, mine=server.url("a"))
        listed = sr("--list")
        assert listed.returncode == 0
        assert listed.stdout.splitlines()[0].split() == ["name", "kind", "scale", "size", "state"]
        assert ["mine", "upscaler", "x4", "100.0", "kB", "missing"] in map(str.split, listed.stdout.splitlines())

        run = sr("mine")
        path = home / "data" / "mine.bin"
        assert (run.returncode, run.stdout) == (0, f"{path}\n")
        assert "\x1b" not in run.stderr
        assert path.read_bytes() == CONTENT
        assert states("mine") == {"mine": "cached"}
        assert sr("--verify").returncode == 0

        path.write_bytes(b"\x00" + CONTENT[1:])
        run = sr("--verify", "mine")
        assert run.returncode == 4
        assert "damaged: mine; `sr download-weights mine`" in run.stderr
        assert sr("mine").returncode == 0
        assert path.read_bytes() == CONTENT
        assert len(server.files["a"].asked) == 2

        assert sr("mine", "--remove").returncode == 0
        assert states("mine") == {"mine": "missing"}


def test_json_tells_all_that_is_known(home):
    register(home, mine="https://example.com/a")
    (entry,) = json.loads(sr("mine", "--list", "--json").stdout)
    assert entry == {
        "name": "mine",
        "kind": "upscaler",
        "scale": 4,
        "file": "mine.bin",
        "path": str(home / "data" / "mine.bin"),
        "urls": ["https://example.com/a"],
        "size": len(CONTENT),
        "sha256": SHA256,
        "license": "CC0",
        "source": "",
        "note": "",
        "state": "missing",
    }


def test_another_folder_another_url_and_a_file(home):
    source = home / "a file"
    source.write_bytes(CONTENT)
    with serving({"a": Served(CONTENT)}) as server:
        register(home, mine="https://example.invalid/a")
        assert sr("mine", "--url", server.url("a"), "--dir", home / "else :smile: [red]").stdout.endswith(
            "/else :smile: [red]/mine.bin\n"
        )
        assert (home / "else :smile: [red]" / "mine.bin").read_bytes() == CONTENT
        assert not (home / "data").exists()
    assert sr("mine", "--from", source).stdout == f"{home / 'data' / 'mine.bin'}\n"
    source.write_bytes(b"else")
    run = sr("mine", "--from", source)
    assert run.returncode == 4
    assert run.stderr.startswith(f"error: {source} has 4 bytes")


def test_weights_of_the_users_own(home):
    source = home / "features.safetensors"
    source.write_bytes(CONTENT)
    refused = sr("my-vgg", "--from", source)
    assert refused.returncode == 2
    assert "--kind" in refused.stderr
    taken = sr("my-vgg", "--from", source, "--kind", "loss-network")
    assert (taken.returncode, taken.stdout) == (0, f"{home / 'data' / 'my-vgg.safetensors'}\n"), taken.stderr
    assert SHA256 in taken.stderr
    assert states("my-vgg") == {"my-vgg": "cached"}
    assert sr("my-vgg", "--from", source, "--kind", "loss-network").returncode == 4


def test_one_that_fails_does_not_keep_the_others(home):
    with serving({"a": Served(CONTENT)}) as server:
        register(home, broken=server.url("none"), mine=server.url("a"))
        run = sr("broken", "mine")
        assert run.returncode == 1
        assert run.stdout == f"{home / 'data' / 'mine.bin'}\n"
        assert "error: broken: http" in run.stderr
        assert "HTTP 404" in run.stderr
        alone = sr("broken")
        assert alone.returncode == 5
        assert "`sr download-weights broken --from FILE`" in alone.stderr
        assert str(home / "data" / "broken.bin") in alone.stderr


def test_the_remedy_for_weights_that_nobody_knows_yet_is_a_command_that_works(home):
    source = home / "mine.safetensors"
    source.write_bytes(CONTENT)
    with serving({}) as server:
        run = sr("mine", "--url", server.url("mine.safetensors"), "--kind", "upscaler", "--scale", "4")
    assert run.returncode == 5
    command = run.stderr.partition("run `sr download-weights ")[2].partition("`")[0]
    assert sr(*command.replace("FILE", str(source)).split()).returncode == 0
    assert states("mine") == {"mine": "cached"}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--all", "vgg16"],
        ["--list", "--remove"],
        ["--json", "vgg16"],
        ["--from", "x"],
        ["--from", "x", "vgg16", "lpips"],
        ["--url", "http://example.com/x", "vgg16"],
        ["--url", "https://example.com/x", "nobody"],
        ["--from", "x", "--url", "https://example.com/x", "vgg16"],
        ["--scale", "4", "vgg16"],
        ["--kind", "upscaler", "mine"],
        ["--kind", "toaster", "--from", "x", "mine"],
        ["--kind", "upscaler", "--from", "x", "../mine"],
        ["--kind", "upscaler", "--url", "http://example.com/x", "mine"],
    ],
)
def test_options_that_make_no_sense_end_with_2_and_one_line(home, arguments):
    run = sr(*arguments)
    assert (run.returncode, run.stdout, len(run.stderr.splitlines())) == (2, "", 1), run.stderr
    assert run.stderr.startswith("error: ")
    assert list(home.iterdir()) == []


def test_offline_says_what_to_do(home, monkeypatch):
    monkeypatch.setenv("SR_OFFLINE", "1")
    run = sr("vgg16")
    assert run.returncode == 4
    for needed in ("SR_OFFLINE", "https://download.pytorch.org", str(home / "data"), "--from FILE"):
        assert needed in run.stderr


def test_off_a_terminal_a_command_fetches_what_it_needs_without_a_question(home):
    with serving({"a": Served(CONTENT)}) as server:
        register(home, mine=server.url("a"))
        run = subprocess.run(
            [sys.executable, "-c", NEEDS_MINE], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    assert run.stdout == f"{home / 'data' / 'mine.bin'}\n"
    assert "?" not in run.stderr
    assert "downloaded" in run.stderr


def on_a_terminal(answer: str) -> tuple[int, str]:
    """Run what needs weights on a terminal, and answer its question; the exit code and what the terminal showed."""
    here, there = pty.openpty()
    run = subprocess.Popen([sys.executable, "-c", NEEDS_MINE], stdin=there, stdout=there, stderr=there)
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
def test_on_a_terminal_a_command_asks_first(home, answer, arrives):
    with serving({"a": Served(CONTENT)}) as server:
        register(home, mine=server.url("a"))
        code, shown = on_a_terminal(answer)
        assert (home / "data" / "mine.bin").exists() == arrives
        assert len(server.files["a"].asked) == arrives
    assert (code == 0) == arrives, shown
    assert arrives or "sr download-weights mine" in shown
