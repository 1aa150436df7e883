"""What ``--degradation real`` draws from: the table ``[degradation]`` of a settings file, and its defaults."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

Range = tuple[float, float]
"""The least and the greatest value of a number that is drawn."""

_LIMITS = {
    "sigma": (0.0, 16.0), "size": (0.1, 8.0), "noise_sigma": (0.0, 255.0), "amount": (0.0, 10.0),
    "quality": (1.0, 100.0), "clean_quality": (1.0, 100.0), "last_quality": (1.0, 100.0),
    "shape": (0.1, 10.0), "cutoff": (0.05, 1.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DegradationOrder:
    """What happens to a picture before it is published, in this order, each with the probability of its name.

    Lengths are in pixels of the LR to come, so that a table suits every scale.

    Attributes:
        blur: probability of a blur by one of `RealDegradation.kernels`.
        sigma: its standard deviation, in LR pixels.
        resize: probability of a change of size by one of `RealDegradation.modes`.
        size: the new size, drawn logarithmically; 1 is that of LR.
        noise_sigma: its standard deviation, in 8-bit levels; if it grows with brightness, that of middle gray.
        sharpen: probability of an unsharp mask.
        amount: how much of the detail the mask adds.
        compress: probability of compression as JPEG or WebP.
        quality: its quality, from 1 to 100.
    """

    blur: float = 0.6
    sigma: Range = (0.05, 0.6)
    resize: float = 0.75
    size: Range = (0.75, 2.5)
    noise: float = 0.45
    noise_sigma: Range = (0.5, 12.0)
    sharpen: float = 0.15
    amount: Range = (0.2, 1.0)
    compress: float = 0.5
    quality: Range = (30.0, 95.0)

    def __post_init__(self) -> None:
        _check(self)


def _shares(**shares: float) -> Any:
    return field(default_factory=lambda: dict(shares))


@dataclass(frozen=True, kw_only=True)
class RealDegradation:
    """The distribution of real degradations.

    A share of the pictures is only reduced. The others go through ``first``, some of them through ``second`` as well,
    and then, in random order, they are brought to the size of LR and compressed.

    Attributes:
        clean: share of the pictures that are only reduced, bicubically or by area.
        clean_compress: share of those that are compressed after all.
        kernels: shares of the kernels of blurs.
        shape: exponent of the generalized Gaussian and of the plateau; 1 makes the former a Gaussian.
        cutoff: of sinc filters, relative to the finest detail that LR can show.
        modes: shares of the kernels of resizes, all antialiased.
        poisson: share of the noise that grows with brightness, as a sensor's does.
        gray_noise: share of the noise that is the same in all channels.
        webp: share of compressions that are WebP; the others are JPEG.
        full_chroma: share of JPEG without chroma subsampling; a quarter of the others is 4:2:2, the rest 4:2:0.
        second_order: share of the pictures that go through ``second``.
        last_sinc: probability of a sinc filter when LR gets its size.
        last_compress: probability of the last compression.

    Source: Real-ESRGAN (arXiv 2107.10833), section 3, which damages pictures more, and leaves none clean.
    """

    clean: float = 0.18
    clean_compress: float = 0.5
    clean_quality: Range = (75.0, 95.0)
    kernels: Mapping[str, float] = _shares(isotropic=0.5, anisotropic=0.2, generalized=0.1, plateau=0.1, sinc=0.1)
    shape: Range = (0.6, 3.0)
    cutoff: Range = (0.5, 1.0)
    modes: Mapping[str, float] = _shares(area=0.35, bilinear=0.3, bicubic=0.35)
    poisson: float = 0.4
    gray_noise: float = 0.4
    webp: float = 0.12
    full_chroma: float = 0.3
    second_order: float = 0.35
    last_sinc: float = 0.15
    last_compress: float = 0.75
    last_quality: Range = (35.0, 95.0)
    first: DegradationOrder = field(default_factory=DegradationOrder)
    second: DegradationOrder = field(
        default_factory=lambda: DegradationOrder(
            blur=0.3, sigma=(0.1, 0.7), size=(0.6, 1.3), noise=0.3, noise_sigma=(0.5, 7.0), sharpen=0.2, compress=0.3
        )
    )

    def __post_init__(self) -> None:
        _check(self)


def read_table(table: object) -> RealDegradation:
    """Read a table of TOML or JSON over the defaults; a ``ValueError`` for an unknown key, or an unfit value."""
    return _updated(RealDegradation(), table, "degradation")  # type: ignore[no-any-return]


def _updated(default: Any, table: object, name: str) -> Any:
    if not isinstance(table, Mapping):
        raise ValueError(f"{name} must be a table, not {table!r}")
    is_mapping = isinstance(default, Mapping)
    known = default if is_mapping else {each.name: getattr(default, each.name) for each in fields(default)}
    values = {}
    for key, value in table.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(known)}"
            raise ValueError(f"{name}: unknown key {key!r}; {hint}")
        if isinstance(known[key], Mapping | DegradationOrder):
            value = _updated(known[key], value, f"{name}.{key}")
        values[key] = tuple(value) if isinstance(value, list) else value
    # A table of shares is the whole of them: what it leaves out is never drawn.
    return dict.fromkeys(default, 0.0) | values if is_mapping else replace(default, **values)


def _check(table: RealDegradation | DegradationOrder) -> None:
    for each in fields(table):
        value = getattr(table, each.name)
        if each.name in _LIMITS:
            low, high = _LIMITS[each.name]
            is_range = isinstance(value, tuple) and len(value) == 2 and all(map(_is_number, value))
            if not is_range or not low <= value[0] <= value[1] <= high:
                shown = list(value) if isinstance(value, tuple) else repr(value)
                raise ValueError(f"{each.name} must be a range within [{low:g}, {high:g}], not {shown}")
        elif isinstance(value, Mapping):
            if not all(_is_number(share) and share >= 0 for share in value.values()) or not sum(value.values()):
                raise ValueError(f"{each.name} must be shares, at least one of them above 0, not {dict(value)}")
        elif not isinstance(value, DegradationOrder) and not (_is_number(value) and 0 <= value <= 1):
            raise ValueError(f"{each.name} must be a number from 0 to 1, not {value!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


PHOTO = RealDegradation(
    clean=0, kernels={"isotropic": 1.0}, modes={"bicubic": 2.0, "bilinear": 1.0}, poisson=0, gray_noise=0, webp=0,
    full_chroma=0.5, second_order=0, last_sinc=0, last_compress=0,
    first=DegradationOrder(
        blur=1, sigma=(0.0, 0.4), resize=1, size=(1.0, 1.0), noise=0.5, noise_sigma=(0.0, 6.0), sharpen=0, compress=0.9,
        quality=(45.0, 95.0),
    ),
)  # fmt: skip
"""The preset ``photo``: a little blur, and at the size of LR a little noise and JPEG."""
