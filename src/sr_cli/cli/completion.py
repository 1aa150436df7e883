"""What TAB completes in the values of options. None of it loads PyTorch."""

from collections.abc import Callable, Iterable
from pathlib import Path

from sr_cli import weights
from sr_cli.evaluation.measures import MEASURES
from sr_cli.networks import registry
from sr_cli.weights import catalog

FORMATS = ("png", "jpg", "webp", "tif", "bmp", "avif", "gif", "heic", "jxl")
LOSSES = ("johnson", "johnson+pixel", "pixel", "psnr", "perceptual")


def _models() -> list[str]:
    named = [entry.name for entry in weights.entries().values() if entry.kind == "upscaler"]
    others = (name for name in catalog.tables() if name not in named)
    return ["auto", *named, *(f"runs/{name}" for name in _runs()), *others]


def _runs() -> list[str]:
    return sorted(path.parent.name for path in Path("runs").glob("*/config.json"))


_NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "model": _models,
    "teacher": _models,
    "init": _models,
    "format": lambda: FORMATS,
    "loss": lambda: LOSSES,
    "arch": registry.built_in,
    "device": lambda: ("auto", "cpu", "cuda", "mps"),
    "resume": _runs,
    "runs": _runs,
    "names": lambda: dict.fromkeys([*weights.entries(), *catalog.tables()]),
}


def completer(parameter: str) -> Callable[[str], list[str]] | None:
    """What completes the values of a parameter of this name, if anything does."""
    if parameter == "metrics":
        return _measures
    names = _NAMES.get(parameter)

    def complete(incomplete: str) -> list[str]:
        typed = catalog.plain(incomplete)
        called = {name: (catalog.plain(name), catalog.plain(name.partition("x-")[2])) for name in (names or list)()}
        return [name for name, words in called.items() if any(word.startswith(typed) for word in words)]

    return None if names is None else complete


def prefer_to_surfraw() -> None:
    """Have zsh complete `sr` by what ``--install-completion`` wrote: it comes with a completion of surfraw's `sr`."""
    script, settings, line = Path("~/.zfunc/_sr"), Path("~/.zshrc").expanduser(), "source ~/.zfunc/_sr"
    if script.expanduser().is_file() and settings.is_file() and line not in (text := settings.read_text()):
        settings.write_text(f"{text.rstrip()}\n{line}\n")


def _measures(incomplete: str) -> list[str]:
    """The last of the names, which are separated by commas."""
    before = incomplete[: incomplete.rfind(",") + 1]
    return [before + name for name in ("quick", "all", *MEASURES) if (before + name).startswith(incomplete)]
