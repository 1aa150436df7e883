"""Two processes on gloo: the same training as one, and no hang when one of them dies."""

import csv
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from sr_cli.errors import TrainingError
from sr_cli.networks.checkpoint import load_network, read_header
from sr_cli.system.distributed import is_first_to_say, synchronize_batch_norm
from sr_cli.system.telemetry import EnergyReport, in_parallel
from sr_cli.training.run_folder import load_state
from support.distributed_parts import CONFIGS, gradients
from support.fast_python import python
from support.trainings import OPTIONS, digest, environment


def torchrun(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Two processes with a thread each."""
    command = [python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, arguments)]
    settings = environment(folder) | {
        "OMP_NUM_THREADS": "1",
        "PYTHON_EXEC": python(),  # what torchrun starts
        "PYTHONFAULTHANDLER": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=settings, timeout=280)


@pytest.fixture(scope="module")
def two_gradients(tmp_path_factory, vgg_state):
    """A folder with photos, and the gradients that each of two processes found."""
    from support.evaluations import folder_of_photos

    folder = tmp_path_factory.mktemp("gradients")
    folder_of_photos(folder / "photos", "abcd")
    save_file(vgg_state, folder / "vgg.safetensors")
    done = torchrun(Path(__file__).parents[1] / "support" / "distributed_parts.py", "gradients", folder, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.slow
def test_gradients_are_those_of_the_joined_batch(name, two_gradients):
    joined = gradients(CONFIGS[name], two_gradients)
    parts = [torch.load(two_gradients / f"{name}-{rank}.pt", weights_only=True) for rank in range(2)]
    for key, expected in joined.items():
        assert torch.equal(parts[0][key], parts[1][key]), f"{key} differs between the processes"
        scale = float(expected.abs().max())
        least = 1e-6 if key.startswith("discriminator") else 1e-9  # SR and HR pull its biases opposite ways
        torch.testing.assert_close(parts[0][key], expected, rtol=1e-4, atol=1e-5 * scale + least)


def test_one_process_tells_what_all_of_them_meet(monkeypatch):
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True)
    variables = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    for name, value in {**variables, "TORCHELASTIC_USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(name, value)
    assert [is_first_to_say(each) for each in ("a", "a", "b")] == [True, False, True]


def test_batch_statistics_of_several_processes_are_refused_on_a_cpu():
    with pytest.raises(TrainingError, match="--batch-norm batch; use frozen"):
        synchronize_batch_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(3)), torch.device("cpu"))
    synchronize_batch_norm(torch.nn.Conv2d(3, 3, 1), torch.device("cpu"))


@pytest.mark.slow
def test_a_run_of_two_resumes_bit_for_bit(photo_folder, tmp_path):
    (tmp_path / "often.toml").write_text("log-every = 1\n")
    options = ["-m", "sr_cli", "train", photo_folder, *OPTIONS, "--schedule", "constant", "--config", "often.toml"]
    options += ["--loss", "pixel:l1=1+adversarial=0.1", "--discriminator-width", 4]
    for arguments in ([*options, "--steps", 8, "--name", "whole"], [*options, "--steps", 4, "--name", "part"]):
        done = torchrun(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("model.safetensors") == 1 and done.stderr.count("into runs/") == 1
    done = torchrun("-m", "sr_cli", "train", "--resume", "part", "--steps", 8, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert digest(tmp_path / "runs/part/model.safetensors") == digest(tmp_path / "runs/whole/model.safetensors")
    table = list(csv.DictReader((tmp_path / "runs/part/metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in table] == list(range(1, 9))
    load_network(tmp_path / "runs/part/best.safetensors")
    assert read_header(tmp_path / "runs/part/model.safetensors")["training"]["steps_done"] == 8


@pytest.mark.slow
def test_a_dead_process_ends_the_run_with_an_error(photo_folder, tmp_path):
    done = torchrun(Path(__file__).parents[1] / "support" / "distributed_parts.py", "death", tmp_path, folder=tmp_path)
    assert done.returncode != 0
    assert "exitcode  : 7" in done.stderr
    assert load_state(tmp_path / "run/last.pt")["step"] >= 0
    assert photo_folder.is_dir()


@pytest.mark.slow
def test_odd_shares_are_refused(photo_folder, tmp_path):
    done = torchrun("-m", "sr_cli", "train", photo_folder, *OPTIONS, "--batch-size", 3, "--steps", 2, folder=tmp_path)
    assert done.returncode != 0
    assert "2 processes cannot share batches of 3" in done.stderr


def test_energy_side_by_side():
    one = EnergyReport(device="GPU", seconds=10, watt_hours=2.0, mean_watts=100.0, mean_utilization=0.5)
    other = EnergyReport(device="GPU", seconds=12, watt_hours=3.0, mean_watts=110.0, mean_utilization=0.7)
    total = in_parallel([one, other])
    assert (total.watt_hours, total.mean_watts, total.seconds) == (5.0, 210.0, 12)
    assert total.mean_utilization == pytest.approx(0.6)
    assert in_parallel([one, EnergyReport(device="GPU", seconds=10)]).watt_hours is None
    assert in_parallel([one]) is one
