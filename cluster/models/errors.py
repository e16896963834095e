"""Errors on the way from a model's name to its files.

ModelError
├── UnknownModelError    the name is no catalog entry, no directory and no Hub id
├── DownloadError        a package or a snapshot could not be fetched
│   └── HashMismatchError    the file fetched is not the pinned one
└── ConversionError      a package does not have the form its recipe expects
"""


class ModelError(Exception):
    """The message is for the user at the terminal."""


class UnknownModelError(ModelError):
    pass


class DownloadError(ModelError):
    pass


class HashMismatchError(DownloadError):
    pass


class ConversionError(ModelError):
    pass
