"""One picture after the other, in a thread of its own: what waits, what runs, what became of it."""

import functools
import secrets
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from sr_cli.config import AUTO, ServeConfig, UpscaleConfig
from sr_cli.errors import ImageError, SrError, described
from sr_cli.images import FORMATS, Picture
from sr_cli.images.header import read_header
from sr_cli.system.quantities import pictures
from sr_cli.upscaling.batch.pipeline import OnStrip
from sr_cli.upscaling.batch.plan_outputs import Job, still_format
from sr_cli.upscaling.batch.results import Result, Summary
from sr_cli.upscaling.batch.run import Batch
from sr_cli.upscaling.batch.target_size import default_model
from sr_cli.upscaling.crop_compare import CropCompare
from sr_cli.upscaling.upscaler import Upscaler

_PREVIEW_SIDE = 2048  # largest side of what a page shows of a result, in pixels


VIDEO = "is a video; in a terminal, sr upscale FILE -o LARGER takes it"


class BusyError(Exception):
    """As many pictures as may are waiting."""


class Work:
    """An uploaded picture on its way to its result; a `sr_cli.upscaling.batch.pipeline.Watcher`.

    Attributes:
        id: unguessable.
        folder: has the upload (`source`), the result (`output`), and with ``preview`` PNGs of the same part of both,
            ``before.png`` and ``after.png``.
        future: of the `Result`, once the upload is complete.
        progress: finished tiles and their count; ``None`` before the picture is in the network.
    """

    def __init__(self, config: UpscaleConfig, folder: Path, *, max_output: int, preview: bool) -> None:
        self.id = secrets.token_urlsafe(12)
        self.config, self.folder, self.max_output, self.preview = config, folder / self.id, max_output, preview
        self.source = self.output = self.folder / "picture"
        self.future: Future[Result] | None = None
        self.progress: tuple[int, int] | None = None
        self.cancelled = threading.Event()
        self.on_change: Callable[[], object] = lambda: None
        self._crop: CropCompare | None = None
        self.folder.mkdir(mode=0o700)

    @property
    def is_over(self) -> bool:
        return self.cancelled.is_set() or bool(self.future and self.future.done())

    def look_at_header(self) -> None:
        """Name the result by the format of the upload, which is complete.

        Raises:
            ImageError: it isn't a picture.
            ValueError: it has too many pixels.
        """
        try:
            header = read_header(self.source, upright=False)
        except ImageError as error:
            if _is_film(self.source):
                raise ImageError(VIDEO) from error
            raise ImageError(str(error).replace(str(self.source), "the picture")) from error
        if header.width * header.height > self.config.max_input:
            limit = f"{self.config.max_input / 1e6:.6g} megapixels (sr serve --max-input)"
            raise ValueError(f"the picture has {header.width} × {header.height} pixels, more than {limit}")
        format = self.config.format or (header.format if self.config.animate else still_format(header.format))
        self.output = self.folder / f"result{FORMATS[format].suffixes[0]}"

    def on_picture(self, _: Job, picture: Picture, size: tuple[int, int]) -> OnStrip | None:
        """Refuse a result that is too large; returns what collects the preview, if one is wanted."""
        self._check_cancelled()
        if size[0] * size[1] > self.max_output:
            limit = f"{self.max_output / 1e6:.6g} megapixels (sr serve --max-output)"
            raise ImageError(f"the result would have {size[0]} × {size[1]} pixels, more than {limit}")
        self._tell((0, 1))
        if not self.preview:
            return None
        factor = max(size[0] / picture.width, size[1] / picture.height)
        self._crop = CropCompare(picture, size, max(16, int(_PREVIEW_SIDE / factor)))
        return self._crop.add

    def on_tile(self, done: int, count: int) -> None:
        """Count a tile; the place where a picture that nobody waits for ends."""
        self._check_cancelled()
        self._tell((done, count))

    def on_frame(self, done: int, count: int, before: int) -> None:
        """Videos are not accepted."""

    def upscale(self, load: Callable[[UpscaleConfig], Upscaler]) -> Result:
        """Upscale the picture. Whatever fails, the result says so."""
        try:
            self._check_cancelled()
            job = Job(source=self.source, output=self.output)
            aliases = {str(self.source): "the picture", str(self.output): "the result"}
            batch = Batch(
                jobs=[job],
                total=1,
                upscaler=load(self.config),
                config=self.config,
                summary=Summary(total=1),
                aliases=aliases,
            )
            (result,) = [batch.count(each) for each in batch.run(self)]
            if self._crop and result.status == "done":
                for name, pixels in (("before", self._crop.input), ("after", self._crop.result())):
                    Image.fromarray(pixels).save(self.folder / f"{name}.png", compress_level=1)
        except Exception as error:
            text, code = (str(error), error.exit_code) if isinstance(error, SrError) else (described(error), 1)
            return Result(input="the picture", output="the result", status="failed", error=text, exit_code=code)
        return result

    def as_json(self) -> dict[str, Any]:
        """What the page shows: the state, the progress, and the facts of the result."""
        result = self.future.result() if self.future and self.future.done() and not self.future.cancelled() else None
        state = result.status if result else "running" if self.progress else "waiting"
        facts = {name: getattr(result, name) for name in FACTS} if result else {}
        return {"state": state, "progress": self.progress, "suffix": self.output.suffix, **facts}

    def _check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise SrError("nobody waits for the result anymore")

    def _tell(self, progress: tuple[int, int]) -> None:
        self.progress = progress
        self.on_change()


def _is_film(path: Path) -> bool:
    """Whether a file begins as MP4, QuickTime, Matroska, AVI or MPEG."""
    with path.open("rb") as file:
        start = file.read(12)
    is_mp4 = start[4:8] == b"ftyp" and start[8:11] in (b"iso", b"mp4", b"avc", b"M4V", b"qt ", b"3gp")
    return is_mp4 or start[8:] == b"AVI " or start[:3] == b"\0\0\1" or start[:4] == b"\x1aE\xdf\xa3"


FACTS = ("input_size", "output_size", "model", "reason", "seconds", "warnings", "error")
"""What answers say of a `Result`."""


class Worker:
    """Takes pictures in, and upscales them one at a time in the order in which they came.

    Args:
        folder: for uploads and results; private.

    Attributes:
        works: by their ids; not those that were discarded.
        thread: computes; to be shut down.
    """

    def __init__(self, config: ServeConfig, folder: Path) -> None:
        self.works: dict[str, Work] = {}
        self._config, self._folder = config, folder
        self.thread = ThreadPoolExecutor(1)
        self._load = functools.lru_cache(maxsize=4)(Upscaler)

    def admit(self, config: UpscaleConfig, *, preview: bool = False) -> Work:
        """Make room for a picture, before it is uploaded.

        Raises:
            BusyError: as many as may are waiting.
        """
        if sum(not work.is_over for work in self.works.values()) > self._config.waiting:
            raise BusyError(f"{pictures(self._config.waiting)} are waiting already; try again later")
        config = replace(config, max_input=self._config.max_input, device=self._config.device)
        work = Work(config, self._folder, max_output=self._config.max_output, preview=preview)
        self.works[work.id] = work
        return work

    def begin(self, work: Work) -> None:
        """Queue a picture whose upload is complete."""
        work.future = self.thread.submit(work.upscale, self._upscaler)
        work.future.add_done_callback(lambda _: work.on_change())

    def discard(self, work: Work) -> None:
        """Forget a picture: it leaves the queue, or ends at its next tile; then its files are removed."""
        self.works.pop(work.id, None)
        work.cancelled.set()
        work.on_change()
        work.on_change = lambda: None  # the event loop may end before the picture does
        if work.future is None:
            shutil.rmtree(work.folder, ignore_errors=True)
            return
        work.future.cancel()
        work.future.add_done_callback(lambda _: shutil.rmtree(work.folder, ignore_errors=True))

    def _upscaler(self, config: UpscaleConfig) -> Upscaler:
        same = {name: getattr(config, name) for name in ("device", "strength", "ensemble", "color_match")}
        named = None if config.model == AUTO else config.model
        return self._load(named or default_model(config), UpscaleConfig(**same))
