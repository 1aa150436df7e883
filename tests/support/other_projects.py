"""Networks of other projects."""

import importlib

from torch import nn


def network(architecture: str, **arguments: object) -> nn.Module:
    """A network of spandrel's, by the name of its class. Importing spandrel takes seconds, so it is done here only."""
    module = importlib.import_module(f"spandrel.architectures.{architecture}")
    made: nn.Module = getattr(module, architecture)(**arguments)
    return made
