"""Many pictures at once: ``find_inputs``, ``plan_outputs``, then the ``pipeline``; ``run`` puts them together."""
