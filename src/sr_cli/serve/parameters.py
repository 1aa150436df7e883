"""The query of an upload: the options of ``sr upscale`` that say what to make of a picture; and their description."""

import json
from collections.abc import Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from sr_cli import __version__, weights
from sr_cli.config import AUTO, ServeConfig, UpscaleConfig, check_setting, flag
from sr_cli.errors import UsageError, as_usage_error
from sr_cli.images import FORMATS

_NAMES = (
    "model", "kind", "scale", "size", "width", "height", "max_pixels", "strength", "ensemble", "color_match", "format",
    "quality", "metadata", "animate",
)  # fmt: skip
_SETTINGS = {flag(each).removeprefix("--"): each for each in fields(UpscaleConfig) if each.name in _NAMES}
_ABOUT = {"model": "A model of sr models that is on this machine."}  # not a file or a URL
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def models() -> dict[str, str]:
    """The models that can be named, with what each is for: those of ``sr models`` whose files are here."""
    return {
        entry.name: entry.note or ", ".join(entry.tags)
        for entry in weights.entries().values()
        if entry.kind == "upscaler" and weights.state(entry) in ("shipped", "cached")
    }


def read_parameters(query: Mapping[str, str]) -> UpscaleConfig:
    """The settings that a query asks for; empty values count as absent.

    Raises:
        UsageError: a parameter is unknown or has an invalid value. Files and URLs are no models here.
    """
    given: dict[str, Any] = {}
    for name, text in query.items():
        if name not in _SETTINGS:
            raise UsageError(f"{name!r} is not a parameter; choose from {', '.join(_SETTINGS)}")
        if text:
            given[_SETTINGS[name].name] = _value(name, text)
    with as_usage_error():
        return UpscaleConfig(**given)


def describe(address: str, config: ServeConfig) -> dict[str, Any]:
    """The OpenAPI document of ``POST /upscale``; ``address`` is the URL that its path follows, the token included."""
    about: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    about["info"]["version"], about["servers"] = __version__, [{"url": address}]
    operation = about["paths"]["/upscale"]["post"]
    operation["parameters"] = [
        {"name": name, "in": "query", "description": _ABOUT.get(name, each.metadata["help"]), "schema": _schema(each)}
        for name, each in _SETTINGS.items()
    ]
    for status, each in operation["responses"].items():
        each["description"] = each["description"].format(**vars(config))
        if status != "200":
            each["content"] = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return about


def _kind(each: Field[Any]) -> Any:
    """The type of a setting, without ``None``."""
    return next((kind for kind in get_args(each.type) if kind in _TYPES or get_origin(kind) is Literal), each.type)


def _value(name: str, text: str) -> object:
    each, value = _SETTINGS[name], text
    kind = _kind(each)
    try:
        if name == "model" and text != AUTO and text not in models():
            known = ", ".join([AUTO, *models()])
            raise ValueError(f"{text!r} is not a model here; choose from {known}; `sr download-weights` gets others")
        if each.metadata["parse"]:
            value = each.metadata["parse"](text)
        elif kind is bool:
            value = {"true": True, "1": True, "false": False, "0": False}.get(text.lower(), text)  # type: ignore[assignment]
        elif kind in (int, float):
            try:
                value = kind(text)
            except ValueError:
                raise ValueError(f"{text!r} is not a {'whole ' * (kind is int)}number") from None
        check_setting(each, value)
    except ValueError as error:
        raise UsageError(f"{name}: {error}".replace(f"{name}: {each.name} must", f"{name} must")) from error
    return value


def _schema(each: Field[Any]) -> dict[str, Any]:
    kind, about = _kind(each), each.metadata
    choices = list(get_args(kind)) if get_origin(kind) is Literal else []
    if each.name == "model":
        choices = [AUTO, *models()]
    elif each.name == "format":
        choices = [each.suffixes[0].removeprefix(".") for each in FORMATS.values()]
    found = {
        "type": "number" if each.name == "scale" else "string" if about["parse"] else _TYPES.get(kind, "string"),
        "enum": choices,
        "default": each.default if about["shown"] is None else None,
        "minimum": about["min"],
        "maximum": about["max"],
        "exclusiveMinimum": about["above"],
        "x-default": about["shown"],
    }
    return {key: value for key, value in found.items() if value not in (None, [])}
