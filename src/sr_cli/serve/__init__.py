"""``sr serve``: a page on this machine, and ``POST /upscale`` for scripts, over the same core as ``sr upscale``.

``guard`` lets in who knows the token, ``app`` has the routes and the queue, ``parameters`` reads the query, ``work`` is
a picture on its way, ``server`` runs it all. Needs starlette, uvicorn and python-multipart.
"""
