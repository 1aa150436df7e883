"""What scripts need to know, as OpenAPI; ``description.html`` shows it."""

from typing import Any

from sr_cli import __version__
from sr_cli.config import ServeConfig
from sr_cli.serve.parameters import schema


def describe(address: str, config: ServeConfig) -> dict[str, Any]:
    """The OpenAPI document of ``POST /upscale``.

    Args:
        address: the URL that the paths follow, the token included.
    """
    file = {"schema": {"type": "string", "format": "binary"}}
    error = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    statuses = {
        "400": "A parameter is unknown or has an invalid value, or the form doesn't have one file.",
        "403": "The token is missing or wrong, or the request comes from a page of another site.",
        "413": f"The upload is larger than {config.max_upload} MB, or has more than {config.max_input:,} pixels.",
        "415": "The upload is not a picture in a supported format.",
        "422": f"The picture is damaged, or its result would be too large ({config.max_output:,} pixels are allowed).",
        "429": f"{config.waiting} pictures are waiting already; try again after Retry-After seconds.",
        "503": "The device is out of memory, or the server is being stopped.",
        "507": "The result cannot be written: the disk is full.",
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "sr", "version": __version__, "description": "Upscale pictures on this machine."},
        "servers": [{"url": address}],
        "paths": {
            "/upscale": {
                "post": {
                    "operationId": "upscale",
                    "summary": "Upscale one picture; the answer is the result.",
                    "parameters": schema(),
                    "requestBody": {
                        "required": True,
                        "description": "The picture is the body itself, or the only file of a form.",
                        "content": {
                            "application/octet-stream": file,
                            "image/*": file,
                            "multipart/form-data": {
                                "schema": {"type": "object", "properties": {"picture": file["schema"]}}
                            },
                        },
                    },
                    "responses": {
                        "200": {
                            "description": "The result. It is lost if the client hangs up before.",
                            "content": {"image/*": file},
                            "headers": {
                                "SR-Result": {
                                    "description": "JSON: sizes, model and why it was chosen, seconds, warnings.",
                                    "schema": {"type": "string"},
                                }
                            },
                        },
                        **{
                            status: {"description": text, "content": {"application/json": {"schema": error}}}
                            for status, text in statuses.items()
                        },
                    },
                }
            }
        },
    }
