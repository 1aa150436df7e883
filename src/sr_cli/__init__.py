"""Super-resolution with perceptual losses: train networks, upscale images, measure how good they are.

The public names are resolved when they are first used, so that importing the package loads no torch.
"""

__version__ = "0.2.0"

TYPE_CHECKING = False  # importing typing takes longer than all that is before signals are handled
if TYPE_CHECKING:
    from sr_cli.config import EvaluateConfig as EvaluateConfig
    from sr_cli.config import TrainConfig as TrainConfig
    from sr_cli.config import UpscaleConfig as UpscaleConfig
    from sr_cli.data import degrade as degrade
    from sr_cli.errors import SrError as SrError
    from sr_cli.evaluation.evaluate import evaluate as evaluate
    from sr_cli.evaluation.result import EvaluationReport as EvaluationReport
    from sr_cli.networks.base import Network as Network
    from sr_cli.training.by_folder import train as train
    from sr_cli.training.runs import TrainingRun as TrainingRun
    from sr_cli.upscaling.upscaler import Upscaler as Upscaler

_HOMES = {
    "EvaluateConfig": "config",
    "EvaluationReport": "evaluation.result",
    "Network": "networks.base",
    "SrError": "errors",
    "TrainConfig": "config",
    "TrainingRun": "training.runs",
    "UpscaleConfig": "config",
    "Upscaler": "upscaling.upscaler",
    "degrade": "data",
    "evaluate": "evaluation.evaluate",
    "train": "training.by_folder",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found
