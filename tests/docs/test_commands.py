"""The commands and programs that the documentation shows work as shown.

A fenced ``sh`` or ``python`` block is run unless an HTML comment before it says what it needs that a machine may lack,
``<!-- needs: photos, GPU -->``. The blocks of a page run in order, in one folder, without network. A Python block
whose first line is ``# NAME.py`` is written to that file and checked to run. Whatever they need,
the options of all `sr` commands are checked.
"""

import contextlib
import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer.main
from PIL import Image

from sr_cli.cli import app
from sr_cli.evaluation.measures import MEASURES
from support.fast_python import python

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- needs: (?P<needs>[^>]+) -->\n)?^ *```(?P<language>\w+)\n(?P<text>.*?)^ *```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what it needs that a machine may lack."""

    language: str
    text: str
    needs: str | None


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The shell and Python blocks of a page."""
    found = BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(b["language"], b["text"], b["needs"]) for b in found if b["language"] in ("sh", "python")]


def runnable() -> list[Path]:
    """The pages with something to run."""
    return [page for page in PAGES if any(block.needs is None for block in blocks(page))]


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with the files that the pages speak of, small: examples, photos, scans, an inbox."""
    rng = np.random.default_rng(0)
    for folder, size in (("examples", 16), ("photos", 96), ("photos/below", 96), ("scans", 16), ("inbox", 16)):
        (tmp_path / folder).mkdir()
        for name in ("astronaut.png", "heron.jpg"):
            small = rng.integers(0, 256, (size // 8, size // 8, 3), np.uint8)
            Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC).save(tmp_path / folder / name)
    (tmp_path / "last-run").touch()
    os.utime(tmp_path / "last-run", (0, 0))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", runnable(), ids=name_of)
def test_commands_run(page: Path, workplace: Path) -> None:
    programs = workplace / "bin"
    programs.mkdir()
    sr = programs / "sr"
    sr.write_text(f'#!/bin/sh\nexec "{python()}" -m sr_cli "$@"\n')
    sr.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SR_OFFLINE": "1",
        "SR_DATA_DIR": str(workplace / "data"),
        "HOME": str(workplace / "home"),
    }
    for block in blocks(page):
        if block.needs is not None:
            continue
        if name := re.match(r"# (\w+\.py)\n", block.text):
            (workplace / name[1]).write_text(block.text)
        command = ["bash", "-e", "-c", block.text] if block.language == "sh" else [python(), "-c", block.text]
        done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{block.text}\n{done.stderr}"


def sr_commands(page: Path) -> Iterator[str]:
    """Every `sr` command of a page that has options: in shell blocks, and in code within a line."""
    text = page.read_text(encoding="utf-8")
    for block in blocks(page):
        if block.language == "sh":
            yield from re.findall(r"(?:^|[|&;] ?|-m )(?:sr|sr_cli) (.+)", block.text.replace("\\\n", " "), re.M)
    prose = BLOCK.sub("", re.sub(r"```text\n.*?```", "", text, flags=re.S))
    yield from (" ".join(code.split()) for code in re.findall(r"`sr ([^`]+)`", prose))


GROUP = functools.cache(typer.main.get_command)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_options_exist(page: Path) -> None:
    group = GROUP(app)
    for line in sr_commands(page):
        words = re.split(r"[\s;|]", line)
        if words[0] not in group.commands:
            picture = words[0] == "IMAGE" or Path(words[0]).suffix in (".jpg", ".png")
            assert picture or words[0] in {"COMMAND", "…"} or words[0].startswith("-"), f"no command sr {words[0]}"
            continue
        parameters = group.commands[words[0]].params
        known = {name for p in parameters for name in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
        with contextlib.suppress(ValueError):  # quotes may be left open by a pipe
            words = shlex.split(line.split(" | ")[0], comments=True)
        for word in words[1:]:
            option = word.partition("=")[0]
            if re.fullmatch(r"--?[a-z][a-z-]*", option):
                assert option in known, f"sr {line}: there is no {option}"


def test_the_table_of_metrics_is_complete() -> None:
    table = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| (?:yes)? *\|", table, re.M)
    assert rows == list(MEASURES)


def test_files_exist() -> None:
    known = {path.name for place in (ROOT, ROOT / "src/sr_cli") for path in place.iterdir()}
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for name in re.findall(r"`((?:[\w.]+/)+(?:[\w.]+\.(?:py|toml|html))?)`", text):
            if name.split("/")[0] in known:
                assert (ROOT / name).exists() or (ROOT / "src/sr_cli" / name).exists(), f"{page}: {name}"


def test_lines_fit() -> None:
    for page in (*PAGES, ROOT / "CHANGELOG.md"):
        assert [line for line in page.read_text(encoding="utf-8").splitlines() if len(line) > 120] == [], page
