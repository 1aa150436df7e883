"""The settings and their defaults; this is the only place that has them."""

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin

ArchitectureName = Literal["johnson", "compact"]
Degradation = Literal["bicubic", "paper", "photo"]
Schedule = Literal["constant", "cosine"]
Crop = Literal["random", "center"]
Precision = Literal["float32", "bfloat16", "float16"]
Initialization = Literal["random", "bilinear"]
BatchNorm = Literal["batch", "frozen"]
Optimizer = Literal["adam", "muon"]
OnNan = Literal["stop", "rollback"]
Interpolation = Literal["bicubic", "nearest", "lanczos"]

SCALES: dict[ArchitectureName, tuple[int, ...]] = {"johnson": (2, 4, 8), "compact": (2, 3, 4, 8)}
"""How many times larger each network can make an image."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """The settings of a training. The defaults are the report's, to the letter (section 4); see `RECIPES` for ours.

    Attributes:
        arch: which network; ``width`` and ``depth`` are for ``compact`` only (``None``: the network's own default).
        initialization: how ``johnson`` starts: at random, as in the report, or as a bilinear enlargement (see
            `Johnson.begin_bilinear`). ``compact`` always starts in its own way.
        batch_norm: what ``johnson``'s batch normalisations take off while it trains: the mean and deviation of each
            batch, as in the report; or ``frozen`` ones, those that it began with. A batch of 4 says little about the
            color of photos: a network that is normalised by it cannot learn which color is right.
        crop_size: side of an HR patch, in pixels.
        crop: where the patch is taken from.
        reduction: half of the patches come from a photo reduced to a random size, this part of its own at least; 1
            takes all photos as they are. A reduced photo is sharper, and shows more in a patch.
        batch_size: patches a step, in all processes together.
        epochs, steps, hours: the training ends with the first of them that is reached; ``None`` is no limit. An epoch
            takes one patch from every photo.
        patience: end after so many validations without a better one; ``None``: never.
        optimizer: ``adam``, the report's; or ``muon`` for the kernels between the first and the last layers and
            Adam for the rest, see `sr_cli.training.muon`.
        lr: the learning rate; ``schedule`` says how it goes on after ``warmup`` steps of linear rise. ``cosine``
            falls to zero at the end of the training.
        output_lr: the learning rate of the output layer as a part of ``lr``. Adam moves all 5,184 weights behind an
            output value of ``johnson`` at once, by ``lr`` each: without this its tanh saturates within a few steps.
        loss: see `sr_cli.losses.parse.parse_loss`.
        symmetry: weight of the distance to the moving average's result for the same patch, turned or mirrored, see
            `sr_cli.losses.self_ensemble_loss`; 0 for none.
        degradation: how LR is made from HR, see `sr_cli.data.degrade`.
        ema: decay of the moving average of the weights that is saved and validated; 0 for none.
        clip: largest norm of the gradient; ``None`` for no clipping.
        seed: everything random follows from it.
        deterministic: use only algorithms that give the same result every time; on the CPU all of ours do.
        precision: what the network and the loss compute in; weights and their updates stay float32.
        channels_last: lay tensors out with the channels innermost; ``None``: yes.
        compile: compile network and loss by ``torch.compile``.
        on_nan: what to do when a loss is not finite: stop, or go back to the last state with half the learning rate.
        workers: processes that load photos; ``None``: none on the CPU, up to 8 beside a GPU.
        cache_gib: decoded photos are kept in memory up to this many GiB, by all processes of a machine together.
        validation_photos: photos held out of the training to choose the best weights by; ``None``: a twentieth of
            them, at least one of five, 16 at most.
        validate_every: steps between validations.
        samples: validation crops that are drawn at each validation.
        log_every: steps between two rows of ``metrics.csv``.
        save_minutes: time between two savings of the state.
        keep: how many states are kept, the newest included.
    """

    arch: ArchitectureName = "johnson"
    scale: int = 4
    width: int | None = None
    depth: int | None = None
    initialization: Initialization = "random"
    batch_norm: BatchNorm = "batch"
    crop_size: int = 288
    crop: Crop = "random"
    reduction: float = 1.0
    batch_size: int = 4
    epochs: float | None = 5
    steps: int | None = None
    hours: float | None = None
    patience: int | None = None
    optimizer: Optimizer = "adam"
    lr: float = 1e-3
    schedule: Schedule = "constant"
    warmup: int = 0
    output_lr: float = 1.0
    loss: str = "johnson"
    symmetry: float = 0.0
    degradation: Degradation = "paper"
    ema: float = 0.0
    clip: float | None = None
    seed: int = 0
    deterministic: bool = False
    precision: Precision = "float32"
    channels_last: bool | None = None
    compile: bool = False
    on_nan: OnNan = "stop"
    workers: int | None = None
    cache_gib: float = 4.0
    validation_photos: int | None = None
    validate_every: int = 200
    samples: int = 4
    log_every: int = 20
    save_minutes: float = 10.0
    keep: int = 3

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check_kind(setting.name, setting.type, getattr(self, setting.name))
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, not {value}")
        for name in _NOT_NEGATIVE:
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise ValueError(f"{name} must be 0 or more, not {value}")
        if self.scale not in SCALES[self.arch]:
            raise ValueError(
                f"{self.arch} comes in the scales {', '.join(map(str, SCALES[self.arch]))}, not {self.scale}"
            )
        if self.crop_size % self.scale:
            raise ValueError(f"crop_size {self.crop_size} is not a multiple of scale {self.scale}")
        if self.epochs is None and self.steps is None and self.hours is None:
            raise ValueError("a training needs an end: epochs, steps or hours")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), not {self.ema}")
        if self.symmetry and not self.ema:
            raise ValueError("symmetry needs ema: it compares with the moving average")
        if not 0 < self.reduction <= 1:
            raise ValueError(f"reduction must be in (0, 1], not {self.reduction}")
        if self.patience is not None and self.validation_photos == 0:
            raise ValueError("patience needs validation_photos")


_POSITIVE = (
    "scale", "crop_size", "batch_size", "epochs", "steps", "hours", "patience", "lr", "output_lr", "clip",
    "validate_every", "log_every", "save_minutes", "keep",
)  # fmt: skip
_NOT_NEGATIVE = ("warmup", "symmetry", "seed", "workers", "cache_gib", "validation_photos", "samples")


def _check_kind(name: str, kind: Any, value: object) -> None:
    """Raise ``ValueError`` unless ``value`` is of a setting's type: a settings file may hold anything."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {value!r}")
        return
    kinds = set(get_args(kind) or (kind,))
    kinds |= {int} if float in kinds else set()
    if type(value) not in kinds:
        wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
        main = next(one for one in (bool, float, int, str) if one in kinds)
        raise ValueError(f"{name} must be {wanted[main]}, not {value!r}")


RECIPES: dict[str, TrainConfig] = {
    "johnson": TrainConfig(initialization="bilinear", batch_norm="frozen", output_lr=0.02),
    "compact": TrainConfig(
        arch="compact",
        crop_size=192,
        batch_size=16,
        epochs=200,
        optimizer="muon",
        lr=1.5e-3,
        schedule="cosine",
        warmup=100,
        loss="pixel",
        degradation="bicubic",
        ema=0.999,
        clip=1.0,
    ),
}
"""The settings that ``sr train --arch`` starts from."""

DEFAULT_MODEL = "compact-x4"
"""The weights that ``sr upscale`` takes when none are named."""

PERCEPTUAL_MODEL = "photo-x4"
"""The weights that ``sr upscale --strength`` takes when none are named."""

LARGEST_SCALE = 64
"""The most times larger that a result may be than its input, along a side."""

ColorMatch = Literal["auto", "none", "histogram", "low-frequency"]
COLOR_MATCHES: tuple[ColorMatch, ...] = get_args(ColorMatch)

Exist = Literal["skip", "overwrite", "fail", "rename"]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The settings of an evaluation. The defaults are the literature's protocol.

    Attributes:
        scale: HR over LR; ``None``: the models', else that of the LR pictures, else 4.
        channel: what PSNR, SSIM, MS-SSIM and consistency are measured on.
        shave: pixels that don't count, at every side; ``None``: the scale.
        degradation: how LR is made from HR where none is given, see `sr_cli.data.degrade`.
        measures: names out of `sr_cli.evaluation.measures.MEASURES`.
        interpolations: rows that need no model; bicubic is always one.
        recursive: also look into subfolders.
        seed: for ``photo``, the only degradation that is random.
        color_match: how models correct colors; ``auto``: as their headers say.
        ensemble: whether models run on the eight flips and rotations of a picture, of which the mean counts.
        dtype: what models compute in, see `sr_cli.system.device.dtype_for`.
    """

    scale: int | None = None
    channel: Literal["y", "rgb"] = "y"
    shave: int | None = None
    degradation: Degradation = "bicubic"
    measures: tuple[str, ...] = ("psnr", "ssim", "dss", "lr_psnr", "color_error", "sharpness", "checkerboard")
    interpolations: tuple[Interpolation, ...] = ()
    recursive: bool = False
    seed: int = 0
    color_match: ColorMatch = "auto"
    ensemble: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.scale is not None and self.scale < 2:
            raise ValueError(f"scale must be 2 or more, not {self.scale}")
        if self.shave is not None and self.shave < 0:
            raise ValueError(f"shave must be 0 or more, not {self.shave}")
        if not self.measures:
            raise ValueError("an evaluation needs at least one measure")
        if self.seed < 0:
            raise ValueError(f"seed must be 0 or more, not {self.seed}")


REPORT_IMAGES = 8
"""Pictures that an evaluation's page shows: the worst and the best, half of each."""
