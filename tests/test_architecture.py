"""Imports point left only, the console alone prints, and the commands start without torch."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import sr_cli

PACKAGE = Path(sr_cli.__file__).parent

# Each tier may import from those before it and from itself; a folder or file that isn't listed fails the test.
TIERS = [
    {"errors", "html", "degradation_table", "signals"},
    {"imageops", "system"},
    {"images", "video", "weights", "networks", "config"},
    {"losses", "metrics", "data"},
    {"upscaling"},
    {"evaluation", "training", "serve", "info"},
    {"console"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(TIERS) for room in rooms}
TORCHLESS = {
    "errors",
    "config",
    "degradation_table",
    "networks/registry",
    "signals",
    "system/address_space",
    "system/atomic_files",
    "system/memory",
    "training/report",
    "training/runs",
    "weights",
    "console",
    "cli",
    "__main__",
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def place_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").as_posix()


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@functools.cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(parse(path)))


def imports(path: Path, *, module_level: bool) -> list[str]:
    """Dotted names that a file imports; what only type checkers see is left out."""
    hidden = {
        id(child)
        for node in nodes(path)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    names = []
    for node in parse(path).body if module_level else nodes(path):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def test_imports_point_left():
    for path in files():
        room = room_of(path)
        assert room in RANK, f"{path}: give {room} a place in the order of the rooms"
        for name in imports(path, module_level=False):
            parts = name.split(".")
            if parts[0] == "sr_cli" and parts[1] in RANK:
                assert RANK[parts[1]] <= RANK[room], f"{path} imports {name}, which stands to its right"


def test_only_console_and_cli_print_or_exit():
    for path in files():
        if room_of(path) not in ("console", "cli", "signals", "__main__"):
            used = {name.split(".")[0] for name in imports(path, module_level=False)}
            assert not used & {"typer", "rich"}, path
            calls = {ast.unparse(node.func) for node in nodes(path) if isinstance(node, ast.Call)}
            assert not calls & {"print", "exit", "quit", "sys.exit", "os._exit"}, path


def test_what_answers_at_once_imports_no_torch():
    answering = [path for path in files() if {room_of(path), place_of(path)} & TORCHLESS]
    assert {room_of(path) for path in answering} | {place_of(path) for path in answering} >= TORCHLESS
    for path in answering:
        used = {name.split(".")[0] for name in imports(path, module_level=True)}
        assert not used & {"torch", "torchvision"}, path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["upscale", "--help"],
        ["evaluate", "--help"],
        ["download-weights", "--help"],
        ["download-weights", "--list"],
        ["models"],
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_help_starts_without_torch(arguments, tmp_path):
    program = (
        "import sys; from sr_cli.__main__ import main\n"
        "try: main()\n"
        "except SystemExit as done: code = done.code\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'PIL', 'piq', 'spandrel'} & set(sys.modules)\n"
        "sys.exit(code or (f'loaded {heavy}' if heavy else 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SR_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
