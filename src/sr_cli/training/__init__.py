"""Training: `loop` is the loop, `trainer` what a step changes, `by_folder` how a training is begun.

``runs`` and ``report``, which read what a training left, import no torch.
"""
