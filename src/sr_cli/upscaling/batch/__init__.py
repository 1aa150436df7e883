"""Many pictures at once.

``inputs`` are found, ``shards`` take their share of them, ``sizes`` and ``outputs`` say what becomes of each and how it
is called. ``running`` does it, ``writing`` in threads of its own; ``results`` tell of it, ``forecast`` foretells it.
"""
