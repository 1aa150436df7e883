"""``sr serve``: a page on this machine, and ``POST /upscale`` for scripts, over the same core as ``sr upscale``.

``guard`` lets in who knows the token, ``app`` has the routes, ``parameters`` reads the query, ``work`` upscales one
picture after the other, ``server`` runs it all. Needs starlette, uvicorn and python-multipart.
"""
