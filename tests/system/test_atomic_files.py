import os
import resource
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from sr_cli.errors import OutputError
from sr_cli.system import atomic_files
from sr_cli.system.atomic_files import atomic_write, write_atomically


def test_a_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("exists", [False, True])
def test_an_error_leaves_what_was_there(tmp_path, exists):
    path = tmp_path / "file"
    if exists:
        path.write_text("old")
    with pytest.raises(KeyError), atomic_write(path) as file:
        file.write(b"new")
        raise KeyError
    assert [p.read_text() for p in tmp_path.iterdir()] == (["old"] if exists else [])


def test_replacing_is_a_choice(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, "one")
    write_atomically(path, "two")
    with pytest.raises(OutputError, match="already exists"):
        write_atomically(path, "three", overwrite=False)
    assert [p.read_text() for p in tmp_path.iterdir()] == ["two"]


def test_what_is_no_folder_is_named(tmp_path):
    (tmp_path / "link").symlink_to("missing/folder")
    (tmp_path / "file").touch()
    for name, reason in (("link", "is a link to missing/folder, which does not exist"), ("file", "is not a folder")):
        for path in (tmp_path / name / "picture.png", tmp_path / name / "below" / "picture.png"):
            with pytest.raises(OutputError) as error:
                write_atomically(path, "x")
            assert str(error.value) == f"{path}: cannot be written ({tmp_path / name} {reason})"


def test_the_usual_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        write_atomically(tmp_path / "file", "x")
        write_atomically(tmp_path / "file", "y")
    finally:
        os.umask(old)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_kill_leaves_nothing_under_the_name(tmp_path):
    program = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        from sr_cli.system.atomic_files import atomic_write
        with atomic_write(Path({str(tmp_path / "file")!r})) as file:
            file.write(b"x" * 100_000)
            file.flush()
            print("written", flush=True)
            time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "file").exists()


def test_what_a_kill_left_is_removed_by_the_next_and_nothing_that_is_in_use(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_files, "_open_unnamed", lambda _: None)
    left = tmp_path / ".sr-0123456789abcdef.tmp"
    left.write_bytes(b"half")
    (tmp_path / ".sr-notes").write_text("mine")
    with atomic_write(tmp_path / "one") as file:
        assert not left.exists()
        file.write(b"1")
        file.flush()
        atomic_files._remove_left_over.cache_clear()  # as in another process
        write_atomically(tmp_path / "two", "2")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "1", "two": "2", ".sr-notes": "mine"}


def test_a_full_disk_is_named(tmp_path):
    path = tmp_path / "file"
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            write_atomically(path, b"x" * 5000)
        except OutputError as error:
            os._exit(0 if "no space left" in str(error) and str(path) in str(error) else 2)
        os._exit(3)
    deadline = time.monotonic() + 300
    while (done := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(done[1]) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "below", "y")
