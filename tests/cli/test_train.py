"""``sr train`` as a user meets it: killed, interrupted, resumed, refused."""

import csv
import json
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sr_cli.__main__ import main
from sr_cli.networks.checkpoint import read_header
from support.fast_python import python
from support.trainings import OPTIONS, end, environment, record, sr_train, start, wait_for_row


def steps_of(path: Path) -> list[int]:
    return [int(row["step"]) for row in csv.DictReader(path.read_text().splitlines())]


@pytest.fixture
def settings(tmp_path):
    """A settings file with which rows and states are written often enough for a test."""
    path = tmp_path / "often.toml"
    path.write_text("log-every = 1\nsamples = 1\nsave_minutes = 0.0001\n")
    return path


@pytest.fixture(scope="module")
def whole_runs():
    """The records of runs that nothing stopped, by their network."""
    return {}


@pytest.mark.parametrize(
    ("arch", "number"),
    [("compact", signal.SIGKILL), ("compact", signal.SIGTERM), ("compact", signal.SIGINT), ("johnson", signal.SIGKILL)],
)
@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(arch, number, photo_folder, settings, tmp_path, whole_runs):
    options = OPTIONS if arch == "compact" else ["--arch", "johnson", "--scale", 2, "--loss", "pixel", *OPTIONS[8:]]
    arguments = (photo_folder, *options, "--config", settings, "--validate-every", 1)
    if arch not in whole_runs:
        assert sr_train(*arguments, "--steps", 10, "--name", "whole", folder=tmp_path).returncode == 0
        whole_runs[arch] = record(tmp_path / "runs/whole")

    process = start(*arguments, "--steps", 10, "--name", "stopped", folder=tmp_path)
    wait_for_row(tmp_path / "runs/stopped", process, step=5)
    end(process, number)
    assert process.returncode == (-number if number == signal.SIGKILL else 130)
    assert 5 <= steps_of(tmp_path / "runs/stopped/metrics.csv")[-1] < 10, "stopped too late to show anything"

    done = sr_train("--resume", "stopped", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert record(tmp_path / "runs/stopped") == whole_runs[arch]
    assert steps_of(tmp_path / "runs/stopped/validation.csv") == list(range(1, 11))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.slow
def test_a_signal_saves_and_prints_how_to_continue(number, photo_folder, settings, tmp_path):
    settings.write_text("log-every = 1\n")
    process = start(photo_folder, *OPTIONS, "--config", settings, "--steps", 100_000, folder=tmp_path)
    run = tmp_path / "runs/compact-x2"
    wait_for_row(run, process, step=3)
    out, err = end(process, number)
    assert process.returncode == 130
    assert out == "" and "Traceback" not in err
    command = re.search(r"to continue: sr train (--resume .*)", err)
    assert command, err
    saved = read_header(run / "model.safetensors")["training"]["steps_done"]
    assert saved == steps_of(run / "metrics.csv")[-1] >= 3

    done = sr_train(*command[1].split(), "--steps", saved + 2, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert steps_of(run / "metrics.csv") == list(range(1, saved + 3))


def test_the_second_ctrl_c_ends_at_once(tmp_path):
    program = (
        "import os, signal, threading, time\n"
        "from sr_cli.cli.train import save_on_signals\n"
        "from sr_cli.training.state import Stop\n"
        "stop = Stop()\n"
        "with save_on_signals(stop, resume='sr train --resume x'):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    assert stop.wanted\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('still here')\n"
    )
    done = subprocess.run([python(), "-c", program], capture_output=True, text=True, env=environment(tmp_path))
    assert done.returncode == 130
    assert done.stdout == "" and "sr train --resume x" in done.stderr


@pytest.mark.slow
def test_resume_overrides_only_what_is_given(photo_folder, tmp_path):
    assert sr_train(photo_folder, *OPTIONS, "--steps", 2, "--name", "a", folder=tmp_path).returncode == 0
    done = sr_train("--resume", "runs/a", "--lr", "5e-5", "--steps", 4, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "runs/a/config.json").read_text())
    assert config["settings"]["lr"] == 5e-5 and config["settings"]["steps"] == 4 and config["settings"]["width"] == 8
    (resumed,) = config["resumed"]
    assert resumed["changed"] == {"lr": 5e-5, "steps": 4} and resumed["step"] == 2
    assert resumed["command"] == "sr train --resume runs/a --lr 5e-5 --steps 4"
    header = read_header(tmp_path / "runs/a/model.safetensors")
    assert header["command"] == config["command"] and "--name a" in header["command"]
    assert header["resumed_by"] == [resumed["command"]]

    again = sr_train("--resume", "a", folder=tmp_path)
    assert again.returncode == 0 and "ended by --steps 4 at step 4; continue" in again.stderr
    assert again.stdout.strip() == "runs/a/model.safetensors"


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["--resume", "a", "--batch-size", "4"], 2, "--batch-size"),
        (["--resume", "a", "--name", "b"], 2, "--name"),
        (["--resume", "nothing"], 8, "nothing"),
        (["photos", "--name", "a"], 8, "--resume"),
        ([], 2, "photos"),
        (["photos", "--config", "bad.toml"], 2, "learning_rate"),
        (["photos", "--config", "worse.toml", "--name", "c"], 2, "lr"),
        (["photos", "--time", "soon"], 2, "soon"),
        (["other", "--resume", "a", "--steps", "9"], 8, "photos that the run began with"),
        (["photos", "--name", "d", *OPTIONS[:-2], "--precision", "float16", "--device", "cpu"], 6, "float16"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refusals(arguments, code, named, finished_run, monkeypatch, capfd):
    monkeypatch.chdir(finished_run)
    monkeypatch.setattr(sys, "argv", ["sr", "train", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    last = capfd.readouterr().err.strip().splitlines()[-1]
    assert done.value.code == code and last.startswith("error:") and named in last


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory):
    """A folder with photos, other photos, bad settings, and the finished run ``a``."""
    from support.evaluations import folder_of_photos

    folder = tmp_path_factory.mktemp("finished")
    folder_of_photos(folder / "photos", "abcd")
    folder_of_photos(folder / "other", "efgh")
    (folder / "bad.toml").write_text("learning_rate = 1e-3\n")
    (folder / "worse.toml").write_text('lr = "fast"\n')
    done = sr_train("photos", *OPTIONS, "--steps", 2, "--name", "a", folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_training_that_gets_no_better_ends_and_says_so(finished_run):
    options = [*OPTIONS, "--lr", 0.5, "--warmup", 0, "--schedule", "constant", "--ema", 0]
    options += ["--validate-every", 1, "--patience", 1, "--steps", 300, "--name", "worse"]
    done = sr_train("photos", *options, folder=finished_run)
    assert done.returncode == 0, done.stderr
    assert "ended by --patience 1" in done.stderr and done.stdout.strip() == "runs/worse/model.safetensors"


@pytest.mark.skipif(find_spec("tensorboard") is not None, reason="TensorBoard is installed")
def test_without_tensorboard_no_run_is_begun(finished_run):
    done = sr_train("photos", *OPTIONS, "--tensorboard", "--name", "board", folder=finished_run)
    assert done.returncode == 2 and "pip install tensorboard" in done.stderr
    assert not (finished_run / "runs/board").exists()


@pytest.mark.slow
def test_a_run_that_ended_by_time_says_so(finished_run):
    options = [*OPTIONS, "--time", "1s", "--steps", 100_000, "--name", "short"]
    done = sr_train("photos", *options, folder=finished_run)
    assert done.returncode == 0 and "ended by --time" in done.stderr, done.stderr
    again = sr_train("--resume", "short", folder=finished_run)
    assert again.returncode == 0 and "ended by --time" in again.stderr, again.stderr
    more = sr_train("--resume", "short", "--steps", 100_001, folder=finished_run)
    assert more.returncode == 8, "what was asked for is not done"
    last = more.stderr.strip().splitlines()[-1]
    assert last.startswith("error:") and "ended by --time" in last and "before --steps 100001" in last


@pytest.mark.slow
def test_the_command_line_wins_over_the_file(photo_folder, tmp_path):
    (tmp_path / "recipe.toml").write_text('arch = "compact"\nlr = 0.5\nclip = 2.0\nsteps = 1\n')
    options = [*OPTIONS, "--config", "recipe.toml", "--lr", "0.001"]
    done = sr_train(photo_folder, *options, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "runs/compact-x2/config.json").read_text())["settings"]
    assert (settings["lr"], settings["clip"], settings["steps"], settings["epochs"]) == (0.001, 2.0, 1, None)


@pytest.mark.slow
def test_energy_at_the_end_is_a_figure_or_unavailable(finished_run):
    done = sr_train("--resume", "a", "--steps", 3, "--carbon-intensity", 56, folder=finished_run)
    assert done.returncode == 0, done.stderr
    lines = dict(re.findall(r"^(\w[\w ]*): +(.*)$", done.stderr, re.MULTILINE))
    assert "device" in lines and "unavailable" not in lines["utilization"]
    known = json.loads((finished_run / "runs/a/energy.json").read_text())["watt_hours"] is not None
    for label in ("energy", "CO2e"):
        assert float(lines[label].split()[0]) > 0 if known else lines[label].startswith("unavailable")
    assert ("energy per epoch" in lines) == known
    assert json.loads((finished_run / "runs/a/config.json").read_text())["carbon_intensity"] == 56
    assert " at 56 g/kWh" in (finished_run / "runs/a/report.html").read_text()
