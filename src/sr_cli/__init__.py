"""Super-resolution with perceptual losses: train networks, upscale images, measure how good they are."""

__version__ = "0.1.0"
