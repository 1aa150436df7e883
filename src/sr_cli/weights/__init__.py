"""Weights by name: which there are, where they lie, and how they arrive intact.

``registry`` knows the names and ``store`` the folder; ``own`` adds weights of the user's. ``download`` brings one file:
``partial`` is what has arrived of it, ``web`` are the ways of the network, ``receipts`` say what was found right.
"""

from sr_cli.weights.own import adopt
from sr_cli.weights.progress import OnProgress, Patience, Progress
from sr_cli.weights.registry import KINDS, Entry, Kind, config_dir, entries, entry, own_registry
from sr_cli.weights.store import State, add, data_dir, fetch, locate, offline, path_of, remedy, remove, state
from sr_cli.weights.urls import check_url, file_of

__all__ = [
    "KINDS",
    "Entry",
    "Kind",
    "OnProgress",
    "Patience",
    "Progress",
    "State",
    "add",
    "adopt",
    "check_url",
    "config_dir",
    "data_dir",
    "entries",
    "entry",
    "fetch",
    "file_of",
    "locate",
    "offline",
    "own_registry",
    "path_of",
    "remedy",
    "remove",
    "state",
]
