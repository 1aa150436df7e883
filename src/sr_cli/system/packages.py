"""Packages that are not the same, or not there, everywhere."""

import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from sr_cli.errors import SrError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

parse_toml = tomllib.loads


def version_of(package: str) -> str | None:
    """The version of an installed package, by its metadata: importing torchvision takes a second."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def dataframe(columns: Mapping[str, Sequence[Any]]) -> Any:
    """A ``pandas.DataFrame`` with these columns; an `SrError` if pandas isn't installed."""
    try:
        import pandas
    except ImportError as error:
        raise SrError("to_dataframe needs pandas: python -m pip install pandas") from error
    return pandas.DataFrame(columns)
