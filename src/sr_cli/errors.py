"""The errors that `sr` raises on purpose, each with the exit code that the command line ends with."""

EXIT_SOME_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class SrError(Exception):
    """Something that the user can put right. The message names the thing and the remedy, in one line."""

    exit_code = 1


class UsageError(SrError):
    """Options that don't go together, or a value that makes no sense."""

    exit_code = EXIT_USAGE


class ImageError(SrError):
    """A picture, or a folder of pictures, that is missing, unreadable or unfit."""

    exit_code = 3


class WeightsError(SrError):
    """Weights that are missing, damaged, unknown, or not of the kind that was asked for."""

    exit_code = 4


class DownloadError(SrError):
    """A transfer that failed, or whose result is not what the registry promises."""

    exit_code = 5


class DeviceError(SrError):
    """A device that is absent, or that ran out of memory with nothing left to try."""

    exit_code = 6


class OutputError(SrError):
    """A result that cannot be written: it exists, the disk is full, the folder is read-only."""

    exit_code = 7


class TrainingError(SrError):
    """A training that cannot start, go on or be resumed."""

    exit_code = 8


class QualityError(SrError):
    """A measured quality that is below what was asked for, or has fallen behind its baseline."""

    exit_code = 9
