"""The image files in a folder are found, whatever their names."""

import os
from pathlib import Path

import pytest

from sr_cli.errors import ImageError
from sr_cli.images import find_images

NAMES = [
    "a\nb.png",
    "[bold]c[red].jpg",
    "-rf.webp",
    "🦩.tif",
    "UPPER.JPEG",
    "with space.gif",
    "ümlaut.bmp",
    "'quote\".avif",
]


def put(folder: Path, *names: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return sorted(folder / name for name in names)


def test_strange_names_are_found_in_order(tmp_path):
    expected = put(tmp_path, *NAMES)
    put(tmp_path, "notes.txt", ".hidden.png", "no suffix", "._mac.jpg")
    assert find_images(tmp_path) == expected


def test_a_name_that_is_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    assert find_images(put(tmp_path, name)[0].parent) == [tmp_path / name]


def test_folders_within_only_when_asked(tmp_path):
    top = put(tmp_path, "b.png")
    below = put(tmp_path / "a" / "deep", "c.png")
    put(tmp_path / ".thumbnails", "d.png")
    (tmp_path / "folder.png").mkdir()
    assert find_images(tmp_path) == top
    assert find_images(tmp_path, recursive=True) == below + top


def test_links_to_files_count_and_links_to_folders_do_not(tmp_path):
    [target] = put(tmp_path / "real", "a.png")
    folder = tmp_path / "links"
    folder.mkdir()
    (folder / "link.png").symlink_to(target)
    (folder / "loop").symlink_to(folder)
    (folder / "elsewhere").symlink_to(tmp_path / "real")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    found = find_images(folder, recursive=True)
    # A link that leads nowhere is reported when it is read, not passed over in silence.
    assert found == [folder / "circle.png", folder / "link.png"]


def test_a_named_pipe_is_passed_over(tmp_path):
    (tmp_path / "a.png").touch()
    os.mkfifo(tmp_path / "waits-for-ever.png")
    assert find_images(tmp_path) == [tmp_path / "a.png"]


def test_a_linked_folder_may_be_the_start(tmp_path):
    put(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert find_images(tmp_path / "link") == [tmp_path / "link" / "a.png"]


@pytest.mark.parametrize("recursive", [False, True])
def test_a_folder_without_images_is_named(tmp_path, recursive):
    put(tmp_path / "empty", "readme.txt")
    with pytest.raises(ImageError, match=r"empty: no images in this folder"):
        find_images(tmp_path / "empty", recursive=recursive)


def test_what_is_no_folder_is_named(tmp_path):
    put(tmp_path, "a.png")
    with pytest.raises(ImageError, match=r"a\.png: is not a folder"):
        find_images(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"nowhere: no such folder"):
        find_images(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_folder_is_named(tmp_path):
    locked = tmp_path / "locked"
    put(locked, "a.png")
    put(tmp_path, "b.png")
    locked.chmod(0)
    try:
        with pytest.raises(ImageError, match=r"locked: cannot be read \(Permission denied\)"):
            find_images(tmp_path, recursive=True)
    finally:
        locked.chmod(0o700)
