"""The command line as a process: what comes out where, and the exit code."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sr_cli import __version__
from support.fast_python import python

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")  # of version 1, which needs no systemd to ask


def sr(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [python(), "-m", "sr_cli", *arguments]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, timeout=120, **options)


def test_version():
    assert sr("--version", stdout=subprocess.PIPE).stdout == f"sr {__version__}\n"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["upscale", "--no-such-option"], ["train"]])
@pytest.mark.slow
def test_wrong_usage_is_code_2_and_nothing_on_stdout(arguments):
    done = sr(*arguments, stdout=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_stdout_is_one_line():
    with Path("/dev/full").open("w") as full:
        done = sr("models", stdout=full)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "error: the output: No space left on device" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [25, 30, 150, 1000])
def test_too_little_address_space_is_one_line_that_names_memory(megabytes, tmp_path):
    """While the package, NumPy and PyTorch are imported."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    done = subprocess.run(
        [sys.executable, "-m", "sr_cli", "evaluate", str(tmp_path)], preexec_fn=limit, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (6, "", 1)
    assert done.stderr.startswith("error: out of memory: ")


@pytest.mark.slow
@pytest.mark.skipif(not os.access(MEMORY_GROUPS, os.W_OK), reason="needs a memory controller that may be written to")
def test_a_control_group_with_too_little_memory_is_named_before_it_kills(tmp_path):
    group = MEMORY_GROUPS / f"sr-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(300 << 20))
        done = subprocess.run(
            [sys.executable, "-m", "sr_cli", "evaluate", str(tmp_path)],
            preexec_fn=lambda: (group / "cgroup.procs").write_text(str(os.getpid())),
            capture_output=True,
            text=True,
        )
    finally:
        group.rmdir()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (6, "", 1)
    assert done.stderr.startswith("error: out of memory: ")


def test_what_libraries_log_stays_away_from_stderr(tmp_path):
    (tmp_path / "noisy.py").write_text("import logging\nlogging.getLogger('noisy').warning('for programmers')\n")
    done = sr("train", ".", "--arch", "noisy:Missing", cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert done.stderr.startswith("error: network noisy:Missing") and len(done.stderr.splitlines()) == 1
