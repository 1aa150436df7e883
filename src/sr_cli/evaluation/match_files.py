"""Match files by name: an HR picture, its LR, and what other tools made of that LR."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sr_cli.evaluation.result import Failure, NothingMeasuredError
from sr_cli.images.find import NamedImages


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of one picture: ``sr`` by the name of its row; ``lr`` is ``None`` if it is made from HR."""

    name: str
    hr: Path
    lr: Path | None
    sr: Mapping[str, Path]


def match(hr: Path, *, lr: Path | None, sr: Mapping[str, Path], recursive: bool) -> tuple[list[Files], list[Failure]]:
    """Match pictures by their names without suffix, else without what tools append, else by the longest beginning.

    Args:
        hr: folder of HR pictures, or one file.
        lr: the same for LR pictures.
        sr: the same for SR pictures.
        recursive: include subfolders, whose names have to match, too.

    Returns:
        The matched files, and every file that has no partner or several.

    Raises:
        ImageError: a folder is missing or empty.
        NothingMeasuredError: nothing matches.
    """
    matched: list[Files] = []
    failures: list[Failure] = []

    def fail(path: Path, reason: str) -> None:
        failures.append(Failure(file=str(path), reason=reason))

    folders = {"": lr, **sr} if lr else dict(sr)
    named = {row: NamedImages(folder, recursive=recursive) for row, folder in folders.items()}
    unmatched = {path: None for found in named.values() for paths in found.paths.values() for path in paths}
    originals = NamedImages(hr, recursive=recursive).paths
    longer = {row: found.by_longest(originals) for row, found in named.items()}
    for name, (path, *others) in originals.items():
        if others:
            for each in (path, *others):
                fail(each, "another HR picture has the same name")
            continue
        partners: dict[str, Path] = {}
        for row, folder in folders.items():
            found = named[row].partners(name) or longer[row].get(name, [])
            for each in found:
                unmatched.pop(each, None)
            if len(found) == 1:
                partners[row] = found[0]
            elif found:
                fail(path, f"has several partners in {folder}: {', '.join(each.name for each in found)}")
            else:
                fail(path, f"has no partner in {folder}")
        if len(partners) == len(folders):
            matched.append(Files(name=name, hr=path, lr=partners.pop("", None), sr=partners))
    for each in unmatched:
        fail(each, f"has no partner in {hr}")
    if not matched:
        raise NothingMeasuredError(failures, f"of {len(failures)} files none could be matched")
    return matched, failures
