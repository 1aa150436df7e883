"""``sr serve``: a page on this machine, and ``POST /upscale`` for scripts, over the same core as ``sr upscale``.

``server`` runs it for those who know the token, ``app`` has the routes and the queue, ``parameters`` reads the query,
``work`` is a picture on its way. Needs starlette, uvicorn and python-multipart.
"""
