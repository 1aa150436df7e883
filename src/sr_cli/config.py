"""The settings and their defaults. This is the only place that has them; the options are generated from them."""

import math
import operator
import re
from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin

from sr_cli.degradation_table import RealDegradation, read_table
from sr_cli.errors import UsageError
from sr_cli.networks import registry

Degradation = Literal["bicubic", "paper", "photo", "real"]
TrainDegradation = Literal["bicubic", "paper", "photo", "real", "given"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["float32", "bfloat16", "float16"]
Initialization = Literal["random", "bilinear"]
BatchNorm = Literal["batch", "frozen"]
Optimizer = Literal["adam", "muon"]
OnNan = Literal["stop", "rollback"]
Discriminator = Literal["unet", "patch"]
Interpolation = Literal["bicubic", "nearest", "lanczos"]


def setting(
    default: Any,
    help: str,
    panel: str | None = None,
    *,
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
    shown: str | None = None,
    min: float | None = None,
    max: float | None = None,
    above: float | None = None,
    below: float | None = None,
    parse: Callable[[str], object] | None = None,
) -> Any:
    """A field of a config that `check_settings` checks and the command line has an option for.

    Args:
        default: the field's default.
        help: the option's help text.
        panel: the heading that the option stands under in ``--help``.
        flags: the option's names; empty: one made from the field's name.
        metavar: what the help shows in place of the value's type.
        shown: what the help shows in place of ``default``.
        min, max: the smallest and the largest value that is allowed.
        above, below: bounds that are not allowed themselves.
        parse: reads the option's text and raises ``ValueError``; ``None``: the option has the field's type.
    """
    limits = {"min": min, "max": max, "above": above, "below": below}
    words = {"help": help, "panel": panel, "flags": flags, "metavar": metavar, "shown": shown, "parse": parse}
    return field(default=default, metadata={**limits, **words})


def flag(setting: Field[Any]) -> str:
    """The option that sets a field, such as ``--batch-size``."""
    flags: tuple[str, ...] = setting.metadata["flags"] or ("--" + setting.name.replace("_", "-"),)
    return flags[0].split("/")[0]


def by_option(config: type) -> dict[str, Field[Any]]:
    """The fields that have options, by the names of these and by their own: ``time`` and ``hours`` are the same."""
    settings = [each for each in fields(config) if "help" in each.metadata]
    return {name: each for each in settings for name in (each.name, flag(each)[2:].replace("-", "_"))}


_LIMITS = {
    "min": ("at least", operator.ge),
    "max": ("at most", operator.le),
    "above": ("above", operator.gt),
    "below": ("below", operator.lt),
}


def check_settings(config: Any) -> None:
    """Check the types and ranges of a config's fields: a settings file may hold anything.

    Raises:
        ValueError: a value has the wrong type or is out of range.
    """
    for each in fields(config):
        check_setting(each, getattr(config, each.name))


def check_setting(each: Field[Any], value: Any) -> None:
    """Check the value of one field, see `check_settings`."""
    _check_type(each.name, each.type, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{each.name} must be finite, not {value}")
    for name, (words, holds) in _LIMITS.items():
        limit = each.metadata.get(name)
        if limit is not None and value is not None and not holds(value, limit):
            raise ValueError(f"{each.name} must be {words} {limit:g}, not {value}")


_TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _check_type(name: str, kind: Any, value: object) -> None:
    if type(None) in get_args(kind):
        if value is None:
            return
        kind, *others = (one for one in get_args(kind) if one is not type(None))
        if others:
            return  # a value of several types is checked where it is used
    if get_origin(kind) is tuple and isinstance(value, tuple) and get_args(kind)[-1] is Ellipsis:
        for item in value:
            _check_type(name, get_args(kind)[0], item)
    elif get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")
    elif kind in _TYPES and type(value) is not kind and not (kind is float and type(value) is int):
        raise ValueError(f"{name} must be {_TYPES[kind]}, not {value!r}")


# What follows reads the texts of options, and raises a ``ValueError`` that says what to write instead.


def hours(text: str) -> float:
    """Read a duration such as ``2h30m``, ``90m`` or ``45s``, in hours."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not match or not text:
        raise ValueError(f"{text!r} is not a duration; write 2h30m, 90m or 45s")
    h, m, s = (int(part or 0) for part in match.groups())
    return h + m / 60 + s / 3600


def parse_scale(text: str) -> float:
    """Read a factor such as ``4``, ``4x``, ``x4`` or ``1.5``."""
    match = re.fullmatch(r"[x×]?(\d*\.?\d+)|(\d*\.?\d+)[x×]", text.strip().lower())
    if not match:
        raise ValueError(f"{text!r} is not a factor; write 4, 4x or 1.5")
    return float(match[1] or match[2])


def parse_whole_scale(text: str) -> int:
    """Read a whole factor such as ``4``, ``4x`` or ``x4``."""
    if (factor := parse_scale(text)) % 1:
        raise ValueError(f"{text!r} is not a whole factor; write 2, 3, 4 or 8")
    return int(factor)


def parse_pixels(text: str) -> int:
    """Read a number of pixels such as ``20000000``, ``20M`` or ``20MP``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)(?:P|px)?", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a number of pixels; write 20M for 20 megapixels")
    return int(float(match[1]) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9}[match[2]])


def parse_size(text: str) -> tuple[int, int]:
    """Read a size such as ``1920x1080``."""
    match = re.fullmatch(r"(\d+)\s*[x×X]\s*(\d+)", text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size; use WIDTHxHEIGHT in pixels, such as 1920x1080{_printed(text)}")
    return int(match[1]), int(match[2])


def parse_side(text: str) -> int:
    """Read a width or height such as ``1000``."""
    if not text.strip().removesuffix("px").isdecimal():
        raise ValueError(f"{text!r} is not a number of pixels, such as 1000{_printed(text)}")
    return int(text.strip().removesuffix("px"))


def _printed(text: str) -> str:
    """What the lengths in a text are in print."""
    match = re.fullmatch(r"(?:([\d.]+)\s*[x×X]\s*)?([\d.]+)\s*(mm|cm|in)", text.strip())
    try:
        sides = [float(side) for side in match.groups()[:2] if side] if match else []
    except ValueError:
        sides = []
    if not sides or not match:
        return ""
    dots = "x".join(f"{side * 300 / {'mm': 25.4, 'cm': 2.54, 'in': 1}[match[3]]:.0f}" for side in sides)
    return f"; {text.strip()} at 300 dots per inch are {dots}"


def parse_tile(text: str) -> int | str | None:
    """Read ``auto``, ``off`` (``None``), or a number of pixels."""
    if text in ("auto", "off"):
        return None if text == "off" else text
    if not (text.isdecimal() and int(text)):
        raise ValueError(f"{text!r} is not a tile size; write auto, off, or a number of pixels")
    return int(text)


def parse_shard(text: str) -> tuple[int, int]:
    """Read a share of a batch such as ``3/16``."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"{text!r} is not a shard; write 3/16 for the third of 16")
    return int(match[1]), int(match[2])


def parse_format(text: str) -> str:
    """Read an image format by one of its suffixes, such as ``jpg``; returns its key in `sr_cli.images.FORMATS`."""
    from sr_cli.images.formats import FORMATS, SUFFIXES  # loads NumPy

    if format := SUFFIXES.get("." + text.lower().lstrip(".")):
        return format
    known = ", ".join(each.suffixes[0].removeprefix(".") for each in FORMATS.values())
    raise ValueError(f"{text!r} is not a format; choose from {known}")


def duration(hours: float) -> str:
    """What `hours` reads, such as ``2h30m``."""
    minutes, s = divmod(round(3600 * hours), 60)
    h, m = divmod(minutes, 60)
    return "".join(f"{value}{unit}" for value, unit in ((h, "h"), (m, "m"), (s, "s")) if value) or "0s"


NETWORK, LEARNING, DATA, RUN, MACHINE = "Network", "Learning", "Data", "Run", "Machine"
_OWN = "the network's own"
_NETWORKS = "; ".join(f"{name}, {entry['description']}" for name, entry in registry.built_in().items())


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training. The defaults are those of the Bordeaux report (section 4); see `recipe` for ours."""

    arch: str = setting(
        "johnson", f"Network: {_NETWORKS}; an installed one; or package.module:Class.", NETWORK, metavar="NAME"
    )
    scale: int = setting(
        4, "Enlargement factor, one that the network comes in.", NETWORK, flags=("--scale", "-s"), metavar="N", min=2,
        parse=parse_whole_scale,
    )  # fmt: skip
    width: int | None = setting(None, "Channels, if the network has a choice.", NETWORK, shown=_OWN, min=1, max=4096)
    depth: int | None = setting(
        None, "Inner convolutions, if the network has a choice.", NETWORK, shown=_OWN, min=0, max=1024
    )
    initialization: Initialization = setting(
        "random", "Start from random weights, or as bilinear interpolation if the network can.", NETWORK
    )
    # A batch of 4 says little about the colors of photos: a network that is normalized by it cannot learn them.
    batch_norm: BatchNorm = setting(
        "batch", "Statistics of batch normalization: each batch's, or frozen at the initial ones.", NETWORK
    )

    loss: str = setting(
        "johnson",
        "johnson, johnson+pixel, pixel, psnr, perceptual, or terms such as feature:relu3_3=1+pixel:l1=2.",
        LEARNING,
        metavar="TERMS",
    )
    teacher: str | None = setting(
        None,
        "Model whose results the loss terms teacher:… compare with: any that sr upscale runs.",
        LEARNING,
        metavar="NAME|FILE",
        shown="none",
    )
    teacher_only_share: float = setting(
        0.0,
        "Share of a batch that the teacher alone judges: patches of photos at their own resolution, as LR.",
        LEARNING,
        min=0,
        max=1,
    )
    discriminator: Discriminator = setting(
        "unet", "Network of the loss term adversarial: it judges every pixel, or patches of 70×70.", LEARNING
    )
    discriminator_width: int = setting(64, "Channels of the discriminator's first layer.", LEARNING, min=1, max=1024)
    discriminator_lr: float = setting(
        1e-4, "Learning rate of the discriminator; it follows --schedule too.", LEARNING, above=0, max=1000
    )
    adversarial_start: int = setting(0, "Steps before the discriminator and its loss term set in.", LEARNING, min=0)
    epochs: float | None = setting(5, "Stop after this many patches from each photo.", LEARNING, above=0, max=10**9)
    steps: int | None = setting(None, "Stop after this many steps.", LEARNING, shown="no limit", min=1, max=10**12)
    hours: float | None = setting(
        None, "Stop after this time.", LEARNING, flags=("--time",), metavar="2h30m", shown="no limit", above=0,
        max=10**6, parse=hours,
    )  # fmt: skip
    patience: int | None = setting(
        None, "Stop after this many validations without improvement.", LEARNING, shown="never", min=1
    )
    optimizer: Optimizer = setting("adam", "Adam, or Muon for the inner kernels, which needs fewer steps.", LEARNING)
    lr: float = setting(1e-3, "Learning rate.", LEARNING, above=0, max=1000)
    schedule: Schedule = setting("constant", "Keep the learning rate, or lower it to zero along a cosine.", LEARNING)
    warmup: int = setting(0, "Steps over which the learning rate rises linearly.", LEARNING, min=0)
    # Adam moves all 5,184 weights behind an output value of johnson at once, by lr each: its tanh would saturate
    # within a few steps.
    sharpen_hr: float = setting(
        0.0,
        "Amount of an unsharp mask (σ 1.5 pixels) on the HR that all but the discriminator compare with, for crisper "
        "edges; 0 turns it off.",
        LEARNING,
        min=0,
        max=4,
    )
    output_lr: float = setting(1.0, "Learning rate of the output layer, relative to --lr.", LEARNING, above=0, max=1000)
    ema: float = setting(0.0, "Decay of the moving average of the weights; 0 turns it off.", LEARNING, min=0, below=1)
    self_ensemble_weight: float = setting(
        0.0,
        "Weight of the distance to the moving average's result for the flipped or rotated patch; 0 turns it off.",
        LEARNING,
        min=0,
    )
    clip: float | None = setting(None, "Largest gradient norm.", LEARNING, shown="no limit", above=0)
    seed: int = setting(0, "Seed of everything random.", LEARNING, min=0, max=2**63 - 1)
    on_nan: OnNan = setting(
        "stop", "If a loss is not finite: stop, or go back to the last state and halve --lr.", LEARNING
    )

    crop_size: int = setting(288, "Side of the HR patches, in pixels.", DATA, min=1, max=2**16)
    # A downscaled photo is sharper, and a patch of it shows more.
    min_downscale: float = setting(
        1.0, "Smallest random downscale, applied to half of the patches; 1 turns it off.", DATA, above=0, max=1
    )
    batch_size: int = setting(4, "Patches per step, over all processes.", DATA, min=1, max=2**16)
    degradation: TrainDegradation = setting("paper", "How LR is made from HR.", DATA)
    real: RealDegradation | None = None  # what degradation `real` draws from
    validation_photos: int | None = setting(
        None, "Photos held out to choose the best weights by.", DATA, shown="a twentieth, at most 16", min=0
    )
    validation_side: int = setting(
        256, "Largest side of what is validated of each of them: its center, in pixels of HR.", DATA, min=64, max=2**16
    )
    validate_every: int = setting(200, "Steps between validations.", DATA, min=1)
    best: str = setting(
        "psnr", "Measure that picks the best weights: psnr, ssim, niqe, dists, or another of sr evaluate's.", DATA,
        metavar="METRIC",
    )  # fmt: skip
    samples: int = setting(4, "Validation patches drawn at each validation.", DATA, min=0, max=1024)
    workers: int | None = setting(
        None, "Processes that load photos.", DATA, shown="0 on a CPU, up to 8 beside a GPU", min=0, max=1024
    )
    cache_gib: float = setting(
        4.0, "Memory for decoded photos, over all processes of a machine, in GiB.", DATA,
        flags=("--cache",), metavar="GIB", min=0, max=2**20,
    )  # fmt: skip

    log_every: int = setting(20, "Steps between rows of metrics.csv.", RUN, min=1)
    save_minutes: float = setting(10.0, "Minutes between saved states.", RUN, above=0)
    keep: int = setting(3, "Saved states to keep.", RUN, min=1)

    precision: Precision = setting(
        "float32", "What the network and the loss compute in; weights stay float32.", MACHINE,
        flags=("--precision", "--dtype"),
    )  # fmt: skip
    compile: bool = setting(False, "Use torch.compile.", MACHINE, flags=("--compile/--no-compile",))
    deterministic: bool = setting(
        False, "Use only algorithms that repeat bit for bit.", MACHINE, flags=("--deterministic/--no-deterministic",)
    )

    def __post_init__(self) -> None:
        if self.degradation == "real" and not isinstance(self.real, RealDegradation):
            object.__setattr__(self, "real", read_table({} if self.real is None else self.real))
        check_settings(self)
        if self.real is not None and self.degradation != "real":
            raise ValueError(f"a table of real degradations, but degradation {self.degradation}")
        if self.degradation == "given" and self.min_downscale < 1:
            raise ValueError("min_downscale needs LR that is made from HR, not given")
        scales = registry.scales_of(self.arch)
        if scales and self.scale not in scales:
            raise ValueError(f"scale must be one of {', '.join(map(str, scales))} for {self.arch}, not {self.scale}")
        if self.crop_size % self.scale:
            raise ValueError(f"crop_size {self.crop_size} is not a multiple of scale {self.scale}")
        if self.epochs is None and self.steps is None and self.hours is None:
            raise ValueError("a training needs an end: epochs, steps or hours")
        if self.self_ensemble_weight and not self.ema:
            raise ValueError("self_ensemble_weight needs ema: it compares with the moving average")
        if self.teacher_only_share and self.teacher is None:
            raise ValueError("teacher_only_share needs a teacher")
        if self.validation_photos == 0 and (self.patience is not None or self.best != "psnr"):
            raise ValueError(f"{'best' if self.patience is None else 'patience'} needs validation_photos")


def recipe(arch: str, *, scale: int | None = None) -> TrainConfig:
    """The settings that ``sr train --arch`` starts from: the network's recipe over the defaults.

    A recipe names settings of `TrainConfig`; ``lr_crop_size`` in it is a ``crop_size`` in LR pixels.

    Args:
        arch: see `sr_cli.networks.registry`.
        scale: ``None``: the default, or the first one of a network that doesn't come in that.

    Raises:
        UsageError: no network has that name, or one from outside has a recipe with unknown settings or values.
        ValueError: the network doesn't come in that scale.
    """
    settings = {"scale": TrainConfig.scale, **registry.recipe_of(arch)}
    scales = registry.scales_of(arch)
    if scale is not None:
        settings["scale"] = scale
    elif scales and settings["scale"] not in scales:
        settings["scale"] = scales[0]
    try:
        if "lr_crop_size" in settings:
            settings["crop_size"] = settings.pop("lr_crop_size") * settings["scale"]
        return TrainConfig(**settings | {"arch": arch})
    except (TypeError, ValueError) as error:
        if arch in registry.built_in():
            raise
        raise UsageError(f"network {arch}: {error}") from error


DEFAULT_ARCH = "compact"
"""The network that ``sr train`` trains when none is named."""

DEFAULT_MODEL = "compact-x4"
"""The default weights of ``sr upscale``."""

PERCEPTUAL_MODEL = "photo-x4"
"""The default weights of ``sr upscale --strength``."""

JPEG_MODEL = "photo-x2"
"""The weights for JPEG files up to x2."""

AUTO = "auto"
"""As the model of ``sr upscale``: the one that suits each picture."""

MODEL_FOR = {"clean": DEFAULT_MODEL, "photo": PERCEPTUAL_MODEL, "drawing": PERCEPTUAL_MODEL, "text": DEFAULT_MODEL}
"""The model for each kind of picture, see `sr_cli.images.content` and docs/research/auto-model.md."""

MAX_SCALE = 64
"""The largest factor between a result and its input, along a side."""

MAX_PIXELS = 1 << 28
"""The largest picture that is read by default: 268 megapixels."""

PNG_LEVEL = 2
"""The default compression of PNG; see `sr_cli.images.codecs.png_write`."""

ColorMatch = Literal["auto", "none", "histogram", "low-frequency"]
COLOR_MATCHES: tuple[ColorMatch, ...] = get_args(ColorMatch)

IfExists = Literal["skip", "overwrite", "fail", "rename"]


PIPE = "-"
"""Stands for stdin among the inputs of ``sr upscale``, and for stdout as its output."""

SIZE, PROCESSING, OUTPUT, VIDEO, BATCH = "Size", "Processing", "Output", "Video", "Batch"


@dataclass(frozen=True, kw_only=True)
class UpscaleConfig:
    """The settings of ``sr upscale``; `Upscaler` uses those that say how the network runs.

    Attributes:
        tile: ``None`` for no tiles.
        shard: index, from 1, and count.
    """

    model: str | None = setting(
        None,
        "Weights: a name (see sr models), or a file or URL of this or another project.",
        flags=("--model", "-m"),
        metavar="NAME|FILE|URL",
        shown="auto: what suits the picture, --scale and --strength",
    )
    kind: Literal["photo", "drawing", "text", "clean"] | None = setting(
        None, "Choose the model for such pictures.", flags=("--for",), shown="what each file looks like"
    )
    arch: str | None = setting(
        None, "Network class of the weights, if it comes from another package.", metavar="PACKAGE.MODULE:CLASS"
    )
    scale: float | None = setting(
        None,
        "Enlargement factor: 2, 3, 4, 8, or any other.",
        SIZE,
        flags=("--scale", "-s"),
        metavar="N",
        shown="the network's",
        above=0,
        max=MAX_SCALE,
        parse=parse_scale,
    )
    size: tuple[int, int] | None = setting(
        None, "Exact width and height in pixels, whatever the proportions.", SIZE, metavar="WxH", parse=parse_size
    )
    width: int | None = setting(
        None, "Width in pixels; keeps the aspect ratio.", SIZE, metavar="N", min=1, parse=parse_side
    )
    height: int | None = setting(
        None, "Height in pixels; keeps the aspect ratio.", SIZE, metavar="N", min=1, parse=parse_side
    )
    max_pixels: int | None = setting(
        None,
        "Largest result in pixels, such as 20M; larger ones are reduced to it.",
        SIZE,
        metavar="N",
        min=1,
        parse=parse_pixels,
    )
    strength: float | None = setting(
        None,
        "Blend of the faithful (0) and the crisp (1) weights; implies --model photo-x4, or photo-x2 up to x2.",
        PROCESSING,
        shown="1",
        min=0,
        max=1,
    )
    ensemble: bool = setting(
        False, "Average over 8 flips and rotations; 8 times slower.", PROCESSING, flags=("--ensemble",)
    )
    color_match: ColorMatch = setting(
        "auto", "Match the colors of the result to the input; auto does what the weights ask for.", PROCESSING
    )
    smooth_jpeg: int = setting(
        60, "Fade the blocks and ripples of JPEG files below this quality; 0 for none.", PROCESSING, min=0, max=100
    )
    tile: int | str | None = setting(
        "auto",
        "Largest side of a tile in pixels of the input; auto fits the free memory.",
        PROCESSING,
        metavar="auto|N|off",
        parse=parse_tile,
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", PROCESSING, metavar="NAME")
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = setting(
        "auto", "Number format to compute in; auto is the fastest that the device supports.", PROCESSING
    )
    max_input: int = setting(
        MAX_PIXELS,
        "Largest input in pixels; larger ones are refused.",
        PROCESSING,
        metavar="N",
        shown="268M",
        min=1,
        parse=parse_pixels,
    )
    format: str | None = setting(
        None,
        "File format: png, jpg, webp, tiff, avif, jxl, …",
        OUTPUT,
        flags=("--format", "-f"),
        metavar="FORMAT",
        shown="the input's",
        parse=parse_format,
    )
    quality: int | None = setting(
        None, "Quality of JPEG, WebP, AVIF, HEIC and JPEG XL.", OUTPUT, shown="95; AVIF, HEIC, JXL 90", min=1, max=100
    )
    png_level: int = setting(
        PNG_LEVEL, "PNG compression, 0 (fastest) to 9 (smallest); always lossless.", OUTPUT, min=0, max=9
    )
    metadata: Literal["keep", "strip"] = setting(
        "keep", "EXIF, XMP and text; the color profile is always kept.", OUTPUT
    )
    animate: bool = setting(
        False, "Upscale every frame of an animation, not only the first.", OUTPUT, flags=("--animate",)
    )
    name_template: str | None = setting(
        None,
        "Names of the results, from {stem} {ext} {scale} {model} {width} {height}.",
        OUTPUT,
        flags=("--filename",),
        metavar="TEMPLATE",
        shown="{stem}_{scale}x.{ext}",
    )
    if_exists: IfExists | None = setting(
        None, "When the output file already exists.", OUTPUT, shown="fail for named files, else skip"
    )
    video_codec: Literal["auto", "h264", "hevc", "av1", "vp9", "ffv1"] = setting(
        "auto", "Codec of a video; auto is H.264, HEVC for more than 8 bits or 4096 pixels, VP9 in WebM.", VIDEO
    )
    crf: float | None = setting(
        None, "Quality of a video: lower is better.", VIDEO, shown="17; HEVC 19, AV1 and VP9 22", min=0, max=63
    )
    preset: str | None = setting(
        None,
        "Speed of the video encoder: ultrafast … veryslow; a number for AV1 and VP9.",
        VIDEO,
        metavar="NAME|N",
        shown="medium; AV1 7, VP9 3",
    )
    deinterlace: bool = setting(False, "Make whole frames of an interlaced video.", VIDEO, flags=("--deinterlace",))
    recursive: bool = setting(
        False, "Include subfolders; the output folder mirrors them.", BATCH, flags=("--recursive", "-r")
    )
    empty_ok: bool = setting(False, "A folder without pictures is not an error.", BATCH, flags=("--empty-ok",))
    shard: tuple[int, int] | None = setting(
        None, "Process only part I of N, for several machines.", BATCH, metavar="I/N", parse=parse_shard
    )
    manifest: str | None = setting(
        None,
        "Append a row a picture to this record, .jsonl or .parquet, and go on from it the next time.",
        BATCH,
        metavar="FILE|URL",
    )
    cluster: str | None = setting(
        None,
        "Spread the pictures over a Ray cluster: auto joins the one here or starts one on this machine.",
        BATCH,
        metavar="auto|ADDRESS",
    )
    gpus_per_worker: float | None = setting(
        None, "Share of GPUs for each process of --cluster.", BATCH, metavar="N", shown="1 if there are any", min=0
    )
    cpus_per_worker: float = setting(1, "CPUs for each process of --cluster.", BATCH, metavar="N", above=0)
    jobs: int = setting(
        2, "Threads that decode, and as many that encode.", BATCH, flags=("--jobs", "-j"), min=1, max=64
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if self.kind is not None and (self.model is not None or self.strength is not None):
            raise ValueError("--for chooses a model; leave out --model and --strength")
        sizes = (self.scale is not None, self.size is not None, self.width is not None or self.height is not None)
        if sum(sizes) > 1:
            raise ValueError("--scale, --size and --width/--height exclude each other")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size must be at least 1 × 1, not {self.size[0]} × {self.size[1]}")


SERVER, LIMITS = "Server", "Limits"


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """The settings of ``sr serve``."""

    host: str = setting(
        "127.0.0.1", "Address to listen on; others than this can be reached from other machines.", SERVER,
        metavar="ADDRESS",
    )  # fmt: skip
    port: int = setting(0, "Port.", SERVER, shown="a free one", min=0, max=65535)
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, mps.", SERVER, metavar="NAME")
    waiting: int = setting(16, "Pictures that may wait; more are refused until one is done.", LIMITS, min=1, max=1000)
    max_upload: int = setting(512, "Largest upload, in MB.", LIMITS, metavar="MB", min=1, max=10**6)
    max_input: int = setting(
        MAX_PIXELS, "Largest picture in pixels; larger ones are refused.", LIMITS, metavar="N", shown="268M", min=1,
        parse=parse_pixels,
    )  # fmt: skip
    max_output: int = setting(
        10**9, "Largest result in pixels; larger ones are refused.", LIMITS, metavar="N", shown="1G", min=1,
        parse=parse_pixels,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_settings(self)


MODELS, MEASURING = "Models", "Measuring"


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The settings of an evaluation. The defaults are the literature's protocol.

    Attributes:
        measures: names from `sr_cli.evaluation.measures.MEASURES`.
    """

    scale: int | None = setting(
        None, "Enlargement factor, HR over LR.", MEASURING, flags=("--scale", "-s"), metavar="N", min=2,
        parse=parse_whole_scale, shown="the models', else that of the LR pictures, else 4",
    )  # fmt: skip
    degradation: Degradation = setting("bicubic", "How LR is made from HR, if no --lr is given.", MEASURING)
    no_reference: bool = setting(
        False, "The pictures are LR, and there is no HR.", MEASURING, flags=("--no-reference",)
    )
    seed: int = setting(0, "Seed of --degradation photo and real, which are random.", MEASURING, min=0)
    measures: tuple[str, ...] = ("psnr", "ssim", "dss", "lr_psnr", "color_error", "sharpness", "checkerboard")
    channel: Literal["y", "rgb"] = setting(
        "y", "What PSNR, SSIM, MS-SSIM and LR-PSNR are measured on: luma, or all channels.", MEASURING
    )
    shave: int | None = setting(
        None, "Width of the border that is ignored, in pixels.", MEASURING, shown="the scale", min=0
    )
    interpolations: tuple[Interpolation, ...] = setting(
        (),
        "A row for this interpolation, too; may be repeated. Bicubic always has one.",
        MEASURING,
        flags=("--interpolation", "--also"),
        metavar="nearest|lanczos",
    )
    recursive: bool = setting(False, "Include subfolders.", MEASURING, flags=("--recursive", "-r"))
    arch: str | None = setting(
        None,
        "Network class of the models' weights, if it comes from another package.",
        MODELS,
        metavar="PACKAGE.MODULE:CLASS",
    )
    color_match: ColorMatch = setting(
        "auto", "Match the colors of models' results to LR; auto does what the weights ask for.", MODELS
    )
    ensemble: bool = setting(
        False, "Models average over 8 flips and rotations; 8 times slower.", MODELS, flags=("--ensemble",)
    )
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = setting(
        "float32", "Number format that models compute in; auto is what sr upscale takes.", MODELS
    )

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.measures:
            raise ValueError("an evaluation needs at least one measure")


REPORT_IMAGES = 8
"""Pictures that an evaluation's page shows: the worst and the best, half of each."""
