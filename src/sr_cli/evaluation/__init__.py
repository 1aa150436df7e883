"""Which method upscales best: match LR, SR and HR, upscale, measure, report.

``evaluate`` does the work; ``measures``, ``result`` and ``thresholds`` import no torch.
"""
