"""How much memory a picture takes."""

import resource
import sys

import torch


def reset_peak_memory(device: torch.device) -> None:
    """Begin to look for the peak anew, where that is possible."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """The most bytes that PyTorch has had of a GPU, or the process of the machine's memory since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
