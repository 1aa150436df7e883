"""Formats that Pillow reads only with a plug-in."""

from functools import lru_cache


@lru_cache(maxsize=1)
def heif_is_there() -> bool:
    """Whether HEIF can be read and written; tells Pillow how, the first time."""
    try:
        from pillow_heif import register_heif_opener  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return False
    register_heif_opener()
    return True
