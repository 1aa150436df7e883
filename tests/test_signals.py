"""Ctrl-C and SIGTERM end every command at any moment: one line, exit code 130, nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from support.fast_python import python

INTERRUPTED = (130, "error: interrupted\n")


def sr_with(program: str) -> list[str]:
    """The command line, after a program that prepares something; ``ready()`` tells the test to go on."""
    start = "import os, sys, time\ndef ready(): os.write(1, b'x')\nfrom sr_cli import signals\nsignals.install()\n"
    return [python(), "-c", start + textwrap.dedent(program)]


def signaled(command: list[str], *numbers: int) -> tuple[int, str]:
    """The exit code, and stderr, of a process that gets a signal each time it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for number in numbers:
        assert process.stdout is not None and process.stdout.read(1)
        process.send_signal(number)
    err = process.communicate(timeout=300)[1].decode()
    return process.returncode, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_an_import_ends(number, tmp_path):
    (tmp_path / "slow.py").write_text("ready()\ntry: time.sleep(600)\nexcept BaseException: pass\n")
    program = f"import builtins; builtins.ready, builtins.time = ready, time\nsys.path.insert(0, {str(tmp_path)!r})\n"
    assert signaled(sr_with(program + "import slow\ntime.sleep(600)"), number) == INTERRUPTED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_import_ends(number):
    """Before what handles signals is imported itself."""
    program = f"""
        import os, sys
        class Finder:
            def find_spec(self, name, *_):
                if name == "sr_cli.signals": os.kill(os.getpid(), {int(number)})
        sys.meta_path.insert(0, Finder())
        import sr_cli.__main__
    """
    assert signaled([sys.executable, "-c", textwrap.dedent(program)]) == INTERRUPTED


def test_a_start_that_ctrl_c_left_with_a_lock_ends():
    """Python's own start may forget the exception, and keep the lock that the next thread's import waits for."""
    program = "import _imp; _imp.acquire_lock(); import sr_cli.__main__"
    assert signaled([sys.executable, "-c", program]) == INTERRUPTED


def test_a_main_thread_that_cannot_run_a_handler_ends():
    """As in a long computation, which lets other threads run."""
    program = """
        import ctypes
        signals.watch()
        lock, take = ctypes.create_string_buffer(64), ctypes.CDLL(None).pthread_mutex_lock
        take(lock)
        ready()
        take(lock)  # never comes back, and no signal interrupts it
    """
    assert signaled(sr_with(program), signal.SIGTERM) == INTERRUPTED


def test_a_second_signal_ends_what_the_first_does_not():
    program = """
        signals.watch()
        with signals.on_signals(lambda number: ready(), lambda: None):
            ready()
            while True: time.sleep(0.01)
    """
    assert signaled(sr_with(program), signal.SIGINT, signal.SIGINT) == INTERRUPTED


def test_patience_has_an_end():
    """As where the first signal's exception has left a lock that another thread waits for."""
    program = """
        signals.watch()
        with signals.on_signals(lambda number: None, lambda: None, patience=0.2):
            ready()
            while True: time.sleep(0.01)
    """
    assert signaled(sr_with(program), signal.SIGINT) == INTERRUPTED


def test_a_child_s_signals_are_its_own():
    program = """
        import warnings
        warnings.simplefilter("ignore")  # Python 3.12 and later warn of threads that a child lacks
        signals.watch()
        child = os.fork()
        if child == 0:
            import signal
            signal.signal(signal.SIGTERM, lambda *_: None)
            for _ in range(3): os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        os.waitpid(child, 0)
        time.sleep(0.2)
        ready()
        sys.exit(7)
    """
    assert signaled(sr_with(program)) == (7, "")


def test_a_background_job_keeps_ignoring_ctrl_c():
    program = "signals.watch()\nready()\ntime.sleep(0.3)\nsys.exit(7)"
    ignoring = sr_with("import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nsignals.install()\n" + program)
    assert signaled(ignoring, signal.SIGINT) == (7, "")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_real_command_ends_while_it_starts(number, tmp_path):
    """Whatever it imports at the moment, from when it listens on."""
    for pause in (0, 0.3, 1.0):
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", "-m", "sr_cli", "evaluate", str(tmp_path)], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None and any(line.endswith("sr_cli.signals\n") for line in process.stderr)
        time.sleep(pause)
        if process.poll() is None:
            process.send_signal(number)
        err = process.communicate(timeout=300)[1]
        told = [line for line in err.splitlines() if not line.startswith("import time:")]
        assert process.returncode == 3 or (process.returncode, told) == (130, ["error: interrupted"]), err


def test_a_pipe_leaves_nothing_and_clears_what_a_kill_left(tmp_path):
    old = tmp_path / "sr-cli-old"
    old.mkdir()
    os.utime(old, (0, 0))
    program = f"""
        import tempfile
        tempfile.tempdir = {str(tmp_path)!r}
        signals.watch()
        from sr_cli.system.atomic_files import temporary_folder
        with temporary_folder() as folder:
            (folder / "stdin").write_text("x")
            os.utime(folder, (0, 0))
            with temporary_folder(): pass  # which leaves the other alone
            assert (folder / "stdin").exists()
            ready()
            time.sleep(600)
    """
    assert signaled(sr_with(program), signal.SIGINT) == INTERRUPTED
    assert list(tmp_path.iterdir()) == []
