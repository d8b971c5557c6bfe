"""The one error of files that cannot be read or written."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or a file cannot be written; the message says what to do."""
