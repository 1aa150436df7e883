"""A video from start to end: decoded, upscaled, encoded at the same time, and resumed where it was interrupted."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import av
from filelock import FileLock, Timeout

from sr_cli.config import UpscaleConfig
from sr_cli.errors import ImageError, OutputError
from sr_cli.images import Picture
from sr_cli.system.atomic_files import output_error, write_atomically
from sr_cli.video import encoding
from sr_cli.video.assembling import assemble, check_streams
from sr_cli.video.color import to_picture
from sr_cli.video.decoding import Film, Frame, frames

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Frames that are done, those of an interrupted run included, and how many those are."""

    done: int
    before: int


def upscale_film(
    film: Film,
    output: Path,
    upscale: Callable[[Picture], Picture],
    *,
    size: tuple[int, int],
    config: UpscaleConfig,
    identity: dict[str, str],
    overwrite: bool,
) -> Iterator[Progress]:
    """Upscale a video; the file appears atomically when the iterator ends.

    Finished segments lie in a hidden folder beside it until then. A later run with the same source and settings goes
    on after them, and gives the same frames.

    Args:
        upscale: makes a frame ``size`` large.
        identity: what else the frames depend on.

    Yields:
        After each frame.

    Raises:
        ImageError: the source is damaged, cut off or interlaced.
        OutputError: the result cannot be written, or holds less than the source.
    """
    how = encoding.choose_encoding(film, size, output, config)
    check_streams(film, output)
    status = film.path.stat()
    settings = {
        "source": [str(film.path.resolve()), status.st_size, status.st_mtime_ns],
        "encoding": json.loads(json.dumps(asdict(how), default=str)),
        "deinterlace": config.deinterlace,
        "segment": encoding.SEGMENT_FRAMES,
        "av": av.__version__,
        **identity,
    }
    with _work_folder(output, settings) as folder:
        before = next(index for index in range(1 << 40) if not _segment(folder, index).exists())
        times: list[int] = []
        last: Frame | None = None
        with _Encoder(folder, how) as encoder, ThreadPoolExecutor(1) as decoder:
            skipped = before * encoding.SEGMENT_FRAMES
            for frame, picture in _ahead(_pictures(film, config, skipped), decoder):
                times.append(frame.time)
                last = frame
                if picture is not None:
                    encoder.add(len(times) - 1, upscale(picture))
                    yield Progress(done=len(times), before=skipped)
        if last is None:
            raise ImageError(f"{film.path}: holds no frame that can be decoded")
        segments = sorted(folder.glob("*.mkv"))
        result = folder / "result.unfinished"
        keep = config.metadata == "keep"
        assemble(film, segments, times, result, last_duration=last.duration, output=output, how=how, keep_metadata=keep)
        with encoding.writing(output):
            if overwrite:
                result.replace(output)
            else:
                os.link(result, output)
        shutil.rmtree(folder, ignore_errors=True)


def work_folder(output: Path) -> Path:
    """Where the finished segments of a result are until it is complete."""
    return output.with_name(f".{output.name}.sr-work")


def _segment(folder: Path, index: int) -> Path:
    return folder / f"{index:06}.mkv"


@contextmanager
def _work_folder(output: Path, settings: dict[str, object]) -> Iterator[Path]:
    """The folder, locked; what other settings have left in it is removed, and so is all if the source is at fault."""
    folder, text = work_folder(output), json.dumps(settings, indent=1, sort_keys=True)
    file = folder / "settings.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise OutputError(f"{output}: another process is writing it") from None
    except OSError as error:
        raise output_error(output, error) from error
    with lock:
        try:
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                for each in folder.iterdir():
                    if each.name != "lock":
                        each.unlink()
                write_atomically(file, text)
            yield folder
        except ImageError:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _pictures(film: Film, config: UpscaleConfig, skipped: int) -> Iterator[tuple[Frame, Picture | None]]:
    """The frames, and their pictures but for the first ones."""
    for index, frame in enumerate(frames(film, deinterlace=config.deinterlace)):
        wanted = index >= skipped
        yield (
            frame,
            to_picture(frame.image, film.colors, format=film.picture_format, turns=film.turns) if wanted else None,
        )


def _ahead(items: Iterator[T], pool: ThreadPoolExecutor) -> Iterator[T]:
    """The items; while one is in use, the next is made by the pool."""
    future = pool.submit(next, items, None)
    while (item := future.result()) is not None:
        future = pool.submit(next, items, None)
        yield item


class _Encoder:
    """Encodes frames into segments in a thread of its own, at most one behind."""

    def __init__(self, folder: Path, how: encoding.Encoding) -> None:
        self._folder, self._how = folder, how
        self._pool = ThreadPoolExecutor(1)
        self._pending: Future[None] | None = None
        self._segment: encoding.Segment | None = None

    def __enter__(self) -> "_Encoder":
        return self

    def add(self, index: int, picture: Picture) -> None:
        """Encode a frame of the whole video.

        Raises:
            OutputError: it, or the one before, cannot be written.
        """
        if self._pending is not None:
            self._pending.result()
        self._pending = self._pool.submit(self._encode, index, picture)

    def _encode(self, index: int, picture: Picture) -> None:
        number, place = divmod(index, encoding.SEGMENT_FRAMES)
        if place == 0:
            self._close()
        if self._segment is None:
            self._segment = encoding.Segment(_segment(self._folder, number), self._how)
        self._segment.add(picture)

    def _close(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            segment.close()

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None and self._pending is not None:
                self._pending.result()
                self._pool.submit(self._close).result()
        finally:
            self._pool.shutdown()
            if self._segment is not None:
                self._segment.abandon()
