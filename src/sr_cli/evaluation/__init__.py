"""Which method upscales best: LR, SR and HR matched, upscaled, measured, summed up.

``measures``, ``result`` and ``gates`` import no torch; ``run`` does the work.
"""
