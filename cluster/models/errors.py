"""What can go wrong between a model's name and its files.

ModelError
├── UnknownModelError    the name is in no catalog, no directory, no Hub id
├── DownloadError        a package or a snapshot could not be fetched
│   └── HashMismatchError    it was fetched, and is not what was pinned
└── ConversionError      a checkpoint is not of the kind its recipe says
"""


class ModelError(Exception):
    """The message is meant for the person at the terminal."""


class UnknownModelError(ModelError):
    pass


class DownloadError(ModelError):
    pass


class HashMismatchError(DownloadError):
    pass


class ConversionError(ModelError):
    pass
