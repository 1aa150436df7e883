import json
import os
import pty
import re
import subprocess
from dataclasses import replace
from importlib import metadata

import pytest
import torch

import sr_cli
from sr_cli import info, weights
from sr_cli.console import info as view
from sr_cli.system.device import dtype_for
from sr_cli.system.quantities import UNAVAILABLE, megabytes, significant, watts
from sr_cli.system.telemetry import EnergyCounter, Reading
from support.fast_python import python


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home: no weights, no settings."""
    for variable, folder in {"SR_DATA_DIR": "weights", "HOME": "home"}.items():
        monkeypatch.setenv(variable, str(tmp_path / folder))
    return tmp_path


@pytest.mark.slow
def test_json_tells_versions_devices_cpu_and_weights(home):
    command = [python(), "-m", "sr_cli", "info", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["versions"]["sr"] == sr_cli.__version__
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["versions"]["torchvision"] == metadata.version("torchvision")
    assert found["devices"][-1]["id"] == "cpu"
    assert found["devices"][-1]["dtype"] == str(dtype_for(torch.device("cpu"))).removeprefix("torch.")
    assert 0 < found["cpu"]["memory_available"] <= found["cpu"]["memory_total"]
    assert bool(found["gpus"]) != bool(found["gpu_absence"])
    assert found["cache"]["folder"] == str(home / "weights")
    assert found["cache"]["exists"] is False
    assert {entry["name"] for entry in found["cache"]["entries"]} == set(weights.entries())
    assert not (home / "weights").exists()


def test_off_a_terminal_every_value_is_a_plain_line(home, capsys):
    view.show(info.collect())
    shown, complaints = capsys.readouterr()
    assert complaints == ""
    assert "\x1b" not in shown
    lines = shown.splitlines()
    assert all(re.match(r"(Version|Device|CPU|GPU|Weights|Hints)[^:]*: \S", line) for line in lines)
    assert f"Version torch: {metadata.version('torch')}" in lines
    assert f"Weights folder: {home / 'weights'} (not created yet)" in lines


@pytest.mark.usefixtures("home")
@pytest.mark.slow
def test_on_a_terminal_there_is_a_table():
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    command = [python(), "-m", "sr_cli", "info"]
    with subprocess.Popen(command, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        shown = b""
        try:
            while piece := os.read(leader, 4096):
                shown += piece
        except OSError:  # Linux reports the end of a terminal so
            pass
    os.close(leader)
    assert process.returncode == 0
    assert b"\x1b[" in shown
    assert metadata.version("torch").encode() in shown
    assert b"Version:" not in shown


def test_a_registry_that_cannot_be_read_is_told_and_the_rest_is_shown(home):
    registry = home / "weights" / "registry.toml"
    registry.parent.mkdir()
    registry.write_text("[broken\n")
    found = info.collect()
    assert str(registry) in found.cache.problem
    assert found.cache.entries == ()
    assert found.devices


def test_other_files_in_the_weights_folder_are_counted_and_hidden_ones_are_not(home):
    folder = home / "weights"
    folder.mkdir()
    for name in ("mine.safetensors", "notes.txt", ".notes.txt.part", "registry.toml"):
        (folder / name).write_text("")
    found = info.collect()
    assert found.cache.exists
    assert found.cache.other_files == 1
    assert ("other files", "1") in dict(view.sections(found))["Weights"]


@pytest.mark.usefixtures("home")
def test_a_damaged_file_of_weights_is_shown_as_such():
    entry = next(entry for entry in weights.entries().values() if entry.path is None)
    path = weights.path_of(entry)
    path.parent.mkdir()
    path.write_bytes(b"not these")
    [stored] = [stored for stored in info.collect().cache.entries if stored.name == entry.name]
    assert (stored.state, stored.size) == ("corrupt", 9)


def test_file_names_are_shown_as_they_are(home, monkeypatch, capsys):
    monkeypatch.setenv("SR_DATA_DIR", str(home / "[red]we\nights"))
    view.show(info.collect())
    assert f"Weights folder: {home}/[red]we\\nights (not created yet)" in capsys.readouterr().out.splitlines()


@pytest.fixture(scope="module")
def found():
    return info.collect()


def test_without_a_gpu_there_is_a_sentence(found):
    sections = dict(view.sections(replace(found, gpus=(), gpu_absence="there is no NVIDIA driver on this machine")))
    assert sections["GPU"] == [("", "No NVIDIA GPU can be read: there is no NVIDIA driver on this machine.")]


def test_a_gpu_s_figures_are_shown_with_their_units(found):
    gpu = Reading(
        "NVIDIA GeForce RTX 3060",
        utilization=0.98,
        memory_used=2_715_000_000,
        memory_total=12_845_000_000,
        power=126.0,
        temperature=66,
        driver="470.141.03",
        counters=(EnergyCounter(5000.0),),
    )
    old = Reading("NVIDIA GeForce 210", driver="470.141.03")
    sections = dict(view.sections(replace(found, gpus=(gpu, old), gpu_absence=None)))
    assert dict(sections["GPU 0"]) == {
        "name": "NVIDIA GeForce RTX 3060",
        "driver": "470.141.03",
        "utilization": "98%",
        "memory": "2715 MB used of 12845 MB",
        "temperature": "66 °C",
        "power": "126 W",
        "energy counter": "readable (NVML)",
    }
    assert dict(sections["GPU 1"])["power"] == dict(sections["GPU 1"])["memory"] == UNAVAILABLE


@pytest.mark.parametrize(
    ("value", "text"), [(126.04, "126"), (12345.6, "12346"), (7.056, "7.06"), (0.00001234, "1.23e-05"), (99.96, "100")]
)
def test_three_significant_digits(value, text):
    assert significant(value) == text


def test_small_powers_keep_a_decimal():
    assert [watts(value) for value in (15.2, 3.14, 0.52, None)] == ["15 W", "3.1 W", "0.52 W", UNAVAILABLE]


def test_sizes_are_in_megabytes():
    assert [megabytes(size) for size in (684_221, 1_249_552, 553_433_881, None)] == [
        "0.68 MB",
        "1.2 MB",
        "553 MB",
        UNAVAILABLE,
    ]


def test_markdown_for_a_bug_report_names_no_folder(capsys):
    from sr_cli.console.info import show_markdown
    from sr_cli.info import collect

    found = collect()
    show_markdown(found)
    text = capsys.readouterr().out
    assert "**Version**" in text and "\n- torch: " in text
    assert found.cache.folder not in text
