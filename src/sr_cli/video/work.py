"""A video from start to end: decoded, upscaled and encoded at the same time, and resumed where it was interrupted."""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import av
from filelock import FileLock, Timeout

from sr_cli.config import UpscaleConfig
from sr_cli.errors import ImageError, OutputError
from sr_cli.images import Picture
from sr_cli.system.atomic_files import write_atomically
from sr_cli.video import encoding
from sr_cli.video.assembling import assemble, check_streams
from sr_cli.video.color import to_picture
from sr_cli.video.decoding import Film, frames
from sr_cli.video.encoding import Encoding

T = TypeVar("T")


def upscale_film(
    film: Film,
    output: Path,
    upscale: Callable[[Picture], Picture],
    *,
    how: Encoding,
    config: UpscaleConfig,
    identity: dict[str, str],
    overwrite: bool,
    folder: Path | None = None,
) -> Iterator[tuple[int, int]]:
    """Upscale a video; the file appears atomically when the iterator ends.

    Finished segments lie in a hidden folder beside it until then. A later run with the same source and settings goes
    on after them, and gives the same frames.

    Args:
        upscale: makes a frame as large as ``how`` says.
        identity: what else the frames depend on, the source among it.
        folder: the one of the segments; it holds the result, too, and is left to the caller.

    Yields:
        After each frame: how many are done, and how many of them an interrupted run had done.

    Raises:
        ImageError: the source is damaged, cut off or interlaced.
        OutputError: the result cannot be written, or holds less than the source.
    """
    check_streams(film, output)
    own = (config.deinterlace, encoding.SEGMENT_FRAMES, av.__version__)
    settings, is_kept = repr((how, own, sorted(identity.items()))), folder is not None
    with _work_folder(folder or output.with_name(f".{output.name}.sr-work"), output, settings) as folder:
        skipped = len(list(folder.glob("*.mkv"))) * encoding.SEGMENT_FRAMES
        times, segment, pending = [0], None, Future[None]()
        pending.set_result(None)
        with ThreadPoolExecutor(1) as decoder, ThreadPoolExecutor(1) as encoder:
            for index, (picture, time, duration) in enumerate(_ahead(_frames(film, config, skipped), decoder)):
                times[-1:] = time, time + duration
                if picture is None:
                    continue
                large = upscale(picture)
                pending.result()
                if index % encoding.SEGMENT_FRAMES == 0:
                    if segment is not None:
                        segment.close()
                    segment = encoding.Segment(folder / f"{index:09}.mkv", how)
                assert segment is not None
                pending = encoder.submit(segment.add, large)
                yield index + 1, skipped
            pending.result()
            if segment is not None:
                segment.close()
            elif skipped:
                yield len(times) - 1, len(times) - 1
        segments, result = sorted(folder.glob("*.mkv")), folder / "result.unfinished"
        assemble(film, segments, times, result, output=output, how=how, keep=config.metadata == "keep")
        with encoding.writing(output):
            if overwrite or is_kept:
                result.replace(output)
            else:
                os.link(result, output)
        if not is_kept:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _work_folder(folder: Path, output: Path, settings: str) -> Iterator[Path]:
    """The folder, locked; what cannot be of use is removed."""
    file = folder / "settings.txt"
    with encoding.writing(output):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock", timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise OutputError(f"{output}: another process is writing it") from None
    with lock:
        if not file.exists() or file.read_text(encoding="utf-8") != settings:
            for each in folder.iterdir():
                if each.name != "lock":
                    each.unlink()
            write_atomically(file, settings)
        try:
            yield folder
        except BaseException as error:
            if isinstance(error, ImageError) or not list(folder.glob("*.mkv")):
                shutil.rmtree(folder, ignore_errors=True)
            raise


def _frames(film: Film, config: UpscaleConfig, skipped: int) -> Iterator[tuple[Picture | None, int, int]]:
    """The frames' times and durations, and their pictures but for those that are done."""
    for index, (image, time, duration) in enumerate(frames(film, deinterlace=config.deinterlace)):
        wanted = index >= skipped
        picture = to_picture(image, film.colors, format=film.picture_format, turns=film.turns) if wanted else None
        yield picture, time, duration


def _ahead(items: Iterator[T], pool: ThreadPoolExecutor) -> Iterator[T]:
    """The items; while one is in use, the next is made by the pool."""
    future = pool.submit(next, items, None)
    while (item := future.result()) is not None:
        future = pool.submit(next, items, None)
        yield item
