"""Tables for notebooks."""

from collections.abc import Mapping, Sequence
from typing import Any

from sr_cli.errors import SrError


def dataframe(columns: Mapping[str, Sequence[Any]]) -> Any:
    """A ``pandas.DataFrame`` with these columns.

    Raises:
        SrError: pandas isn't installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise SrError("to_dataframe needs pandas: python -m pip install pandas") from error
    return pandas.DataFrame(columns)
