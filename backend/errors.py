"""Every error this program raises on purpose, as one tree.

BackendError
├── SettingsError              a setting has a value that cannot be used
├── OutputError                a file or folder that a command is to write cannot be written
├── PageError                  a page reference did not become pixels (carries reference and reason)
│   ├── ReferenceRefused       the scheme, host or folder is not on the allow-list
│   ├── PageUnavailable        the source did not answer, or answered that it has no such thing; or no memory is left
│   │   └── CutShort           the bytes end before the page does: it may be whole another time
│   ├── LimitExceeded          bytes, pixels, pages, time or redirects went over a limit
│   │   ├── FetchTimeout       the source did not answer in time: it may, another time
│   │   └── TooManyPages       a task names more pages than are read (a RequestError, too)
│   └── UndecodablePage        the bytes are no image or document that can be read
├── ModelError                 a model cannot serve
│   ├── UnknownModel           the wanted version does not exist
│   ├── WeightsUnavailable     the place where the weights live cannot be reached
│   └── BadWeights             the file is not what its config or checksum promises
├── LabelConfigError           the project's label config offers nothing to put marks on
├── RequestError               a request body is not of the protocol's shape
├── LabelStudioError           Label Studio's API refused or did not answer
├── OtherLabelStudio           a project is not of the Label Studio that the ledger is of
├── LedgerError                the database or the crop store cannot be used
│   └── LedgerAway             the database does not answer, or is locked: it may answer later
├── RegistryError              a model cannot be published or promoted
│   └── PointerMoved           another model serves by now than the one it was judged beside
├── TrainingError              the crops or the checkpoint of a training cannot be used
│   └── PagesAway              Label Studio gives none of the pages that a training is to learn from, or be judged by
├── EvaluationError            the pages, boxes or files of an evaluation cannot be used
├── DatasetError               a data set cannot be frozen, read or exported as asked
│   └── NotFreezable           some of its tasks cannot be frozen: one of them in each line
├── DocumentError              documents cannot be imported as asked
├── ReportError                a report by document cannot be made as asked
│   └── RuleError              what a contract must bear is said in words that are no rule
├── SetupError                 a project and this backend cannot be connected as asked
└── DemoError                  a server of the demo did not start, or ended

Each message names the thing, the reason and the way out. `status` is the HTTP status that the server answers with.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "BackendError",
    "BadWeights",
    "CutShort",
    "DatasetError",
    "DemoError",
    "DocumentError",
    "EvaluationError",
    "FetchTimeout",
    "LabelConfigError",
    "LabelStudioError",
    "LedgerAway",
    "LedgerError",
    "LimitExceeded",
    "ModelError",
    "NotFreezable",
    "OtherLabelStudio",
    "OutputError",
    "PageError",
    "PageUnavailable",
    "PagesAway",
    "PointerMoved",
    "ReferenceRefused",
    "RegistryError",
    "ReportError",
    "RequestError",
    "RuleError",
    "SettingsError",
    "SetupError",
    "TooManyPages",
    "TrainingError",
    "UndecodablePage",
    "UnknownModel",
    "WeightsUnavailable",
]


class BackendError(Exception):
    """Root of every error raised on purpose."""

    status: ClassVar[int] = 500


class SettingsError(BackendError):
    """A setting has a value that cannot be used."""


class OutputError(BackendError):
    """A file or folder that a command is to write cannot be written, or holds something else already."""


class PageError(BackendError):
    """A page reference did not become pixels.

    Attributes:
        reference: The reference as the task gave it, shortened and without credentials or query.
        reason: Why, in words an annotator's administrator can act on.
    """

    status = 422

    def __init__(self, reference: str, reason: str) -> None:
        super().__init__(f"{reference}: {reason}")
        self.reference = reference
        self.reason = reason


class ReferenceRefused(PageError):
    """The scheme, host or folder of a reference is not on the allow-list."""


class PageUnavailable(PageError):
    """The source did not answer, or answered that it has no such thing; or there is no memory for it at the moment."""


class CutShort(PageUnavailable):
    """The bytes end before the page does: the file may still be on its way, and whole another time."""


class LimitExceeded(PageError):
    """Bytes, pixels, pages, time or redirects went over a limit."""


class FetchTimeout(LimitExceeded):
    """The source did not answer in time: it may, another time."""


class UndecodablePage(PageError):
    """The bytes are no image or document that can be read."""


class ModelError(BackendError):
    """A model cannot serve."""

    status = 503


class UnknownModel(ModelError):
    """The wanted model version does not exist."""


class WeightsUnavailable(ModelError):
    """The place where the weights live cannot be reached."""


class BadWeights(ModelError):
    """A weights file is not what its config or checksum promises."""


class LabelConfigError(BackendError):
    """The project's label config offers nothing to put marks on."""

    status = 422


class RequestError(BackendError):
    """A request body is not of the protocol's shape."""

    status = 400


class TooManyPages(LimitExceeded, RequestError):
    """A task names more pages than are read: whoever takes a task that cannot be read takes this one, too."""


class LabelStudioError(BackendError):
    """Label Studio's API refused, or did not answer.

    Attributes:
        answered: The HTTP status it answered with; None when no answer came.
    """

    status = 502

    def __init__(self, message: str, *, answered: int | None = None) -> None:
        super().__init__(message)
        self.answered = answered


class OtherLabelStudio(BackendError):
    """A project is not of the Label Studio that the ledger is of, or nothing shows that it is."""

    status = 409


class LedgerError(BackendError):
    """The database or the crop store cannot be used."""

    status = 503


class LedgerAway(LedgerError):
    """The database does not answer, or another process keeps it locked: it may answer another time."""


class RegistryError(BackendError):
    """A model cannot be published or promoted."""


class PointerMoved(RegistryError):
    """Another model serves by now than the one that the model to be promoted was judged beside."""


class TrainingError(BackendError):
    """The crops or the checkpoint of a training cannot be used."""


class PagesAway(TrainingError):
    """No page that annotators left can be had for now: a training without them would not be what was asked for."""


class EvaluationError(BackendError):
    """The pages, boxes or files of an evaluation cannot be used."""


class DatasetError(BackendError):
    """A data set cannot be frozen, read or exported as asked."""


class NotFreezable(DatasetError):
    """Some tasks cannot be frozen; after the first line, each names one of them."""


class DocumentError(BackendError):
    """Documents cannot be imported as asked."""


class ReportError(BackendError):
    """A report by document cannot be made as asked."""


class RuleError(ReportError):
    """What a contract must bear is said in words that are no rule; the message has lines that point at the place."""


class SetupError(BackendError):
    """A project and this backend cannot be connected as asked."""


class DemoError(BackendError):
    """A server of the demo did not start, or ended."""
