"""An uploaded picture on its way to its result."""

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from starlette.exceptions import HTTPException

from sr_cli.config import UpscaleConfig
from sr_cli.errors import ImageError, SrError, described
from sr_cli.images import FORMATS, Picture
from sr_cli.images.header import read_header
from sr_cli.upscaling.batch.pipeline import OnStrip, run
from sr_cli.upscaling.batch.plan_outputs import Job, still_format
from sr_cli.upscaling.batch.results import Result
from sr_cli.upscaling.crop_compare import CropCompare
from sr_cli.upscaling.upscaler import Upscaler

FACTS = ("input_size", "output_size", "model", "reason", "seconds", "warnings", "error")
"""What answers say of a `Result`."""

VIDEO = "is a video; in a terminal, sr upscale FILE -o LARGER takes it"

_PREVIEW_SIDE = 2048  # largest side of what a page shows of a result, in pixels


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

    @property
    def result(self) -> Result | None:
        """The result, if there is one by now."""
        return self.future.result() if self.future and self.future.done() and not self.future.cancelled() else None

    def look_at_header(self) -> None:
        """Name the result by the upload's format; an ``HTTPException`` for no picture, or one of too many pixels."""
        try:
            header = read_header(self.source, upright=False)
        except ImageError as error:
            problem = VIDEO if _is_film(self.source) else self._without_paths(str(error))
            raise HTTPException(415, problem) from error
        if header.width * header.height > self.config.max_input:
            limit = f"{self.config.max_input / 1e6:.6g} megapixels (sr serve --max-input)"
            raise HTTPException(413, f"the picture has {header.width} × {header.height} pixels, more than {limit}")
        format = self.config.format or (header.format if self.config.animate else still_format(header.format))
        self.output = self.folder / f"result{FORMATS[format].suffixes[0]}"

    def on_picture(self, _: Job, picture: Picture, size: tuple[int, int]) -> OnStrip | None:
        """Refuse a result that is too large; returns what collects the preview, if one is wanted."""
        if size[0] * size[1] > self.max_output:
            limit = f"{self.max_output / 1e6:.6g} megapixels (sr serve --max-output)"
            raise ImageError(f"the result would have {size[0]} × {size[1]} pixels, more than {limit}")
        self.on_tile(0, 1)
        if not self.preview:
            return None
        factor = max(size[0] / picture.width, size[1] / picture.height)
        self._crop = CropCompare(picture, size, max(16, int(_PREVIEW_SIDE / factor)))
        return self._crop.add

    def on_tile(self, done: int, count: int) -> None:
        """Count a tile; the place where a picture that nobody waits for ends."""
        self._check_cancelled()
        self.progress = done, count
        self.on_change()

    def on_frame(self, done: int, count: int, before: int) -> None:
        """Videos are not accepted."""

    def upscale(self, load: Callable[[UpscaleConfig], Upscaler]) -> Result:
        """Upscale the picture. Whatever fails, the result says so."""
        try:
            self._check_cancelled()
            (result,) = run([Job(source=self.source, output=self.output)], load(self.config), self.config, self)
            if self._crop and result.status == "done":
                for name, pixels in (("before", self._crop.input), ("after", self._crop.result())):
                    Image.fromarray(pixels).save(self.folder / f"{name}.png", compress_level=1)
        except Exception as error:
            text, code = (str(error), error.exit_code) if isinstance(error, SrError) else (described(error), 1)
            result = Result(input="the picture", output="the result", status="failed", error=text, exit_code=code)
        return replace(result, error=result.error and self._without_paths(result.error))

    def as_json(self) -> dict[str, Any]:
        """What the page shows: the state, the progress, and the facts of the result."""
        result = self.result
        state = result.status if result else "running" if self.progress else "waiting"
        facts = {name: getattr(result, name) for name in FACTS} if result else {}
        return {"state": state, "progress": self.progress, "suffix": self.output.suffix, **facts}

    def _check_cancelled(self) -> None:
        if self.cancelled.is_set():
            raise SrError("nobody waits for the result anymore")

    def _without_paths(self, text: str) -> str:
        return text.replace(str(self.source), "the picture").replace(str(self.output), "the result")


def _is_film(path: Path) -> bool:
    """Whether a file begins as MP4, QuickTime, Matroska, AVI or MPEG."""
    with path.open("rb") as file:
        start = file.read(12)
    is_mp4 = start[4:8] == b"ftyp" and start[8:11] in (b"iso", b"mp4", b"avc", b"M4V", b"qt ", b"3gp")
    return is_mp4 or start[8:] == b"AVI " or start[:3] == b"\0\0\1" or start[:4] == b"\x1aE\xdf\xa3"
