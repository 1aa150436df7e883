"""Weights by name: which there are, where their files lie, how to get them.

``registry`` has the names, ``catalog`` those of community models, ``store`` the data folder. ``download`` fetches one
file over ``http`` and ``checksums`` verifies it; ``content`` tells what any file holds, and reads what a
safetensors file says of itself. Nothing here imports torch.
"""

from sr_cli.weights.registry import (
    Entry,
    catalog_entry,
    data_dir,
    entries,
    entry,
    entry_of_url,
    entry_or_new,
    is_path,
    is_url,
    remember,
    user_registry_path,
)
from sr_cli.weights.store import add, fetch, locate, offline, path_of, remedy, remove, state
from sr_cli.weights.types import Kind, OnProgress, Progress, RetryPolicy, State
