"""The losses of a training: one class each, put together by `sr_cli.losses.parse`."""
