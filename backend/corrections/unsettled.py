"""What waits for a person, as pages and commands name it: where it is, and the way out."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Exchanged", "Parked", "UnknownLabel", "Unread"]


def _whereabouts(project: int | None, task: int | None) -> list[str]:
    named = (("project", project), ("task", task))
    return [f"{name} {number}" for name, number in named if number is not None]


@dataclass(frozen=True, kw_only=True)
class Parked:
    """Something that waits for a person, and why: an event, or an annotation whose page is not to be had.

    Attributes:
        kind: `event` or `annotation`.
        id: Its number.
        reason: Why it waits.
        task: The annotation's task; None for an event.
        project: The annotation's project, where that is known.
    """

    kind: str
    id: int
    reason: str
    task: int | None = None
    project: int | None = None

    def __str__(self) -> str:
        return ", ".join([*_whereabouts(self.project, self.task), f"{self.kind} {self.id}"])


@dataclass(frozen=True, kw_only=True)
class UnknownLabel:
    """A label that annotators' regions bear, and no label config of their project knows.

    Attributes:
        project: The project's id.
        label: The label; "" for regions without one.
        regions: How many bear it.
        task: One of their tasks.
    """

    project: int | None
    label: str
    regions: int
    task: int

    def __str__(self) -> str:
        named = f"the label {self.label!r}" if self.label else "no label"
        many = "1 region has" if self.regions == 1 else f"{self.regions} regions have"
        where = "" if self.project is None else f"project {self.project}: "
        return f"{where}{many} {named}, such as on task {self.task}"

    @property
    def remedy(self) -> str:
        """The way out, as one sentence of an instruction."""
        if not self.label:
            return "give the regions a label in Label Studio, and update the annotations"
        mapped = f'predicted_values="stamp,{self.label}"'
        such = f'such as <Label value="Seal" {mapped}/>'
        return f"say which one mark it stands for in the label config, {such}, or name it back"


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A task that could not be looked at, and why."""

    task: int
    project: int | None
    reason: str

    def __str__(self) -> str:
        return ", ".join(_whereabouts(self.project, self.task))


@dataclass(frozen=True, kw_only=True)
class Exchanged:
    """An annotated task whose pages are others now than those that its boxes were shown or left on.

    Attributes:
        task: The task's id.
        project: The project's id.
        annotation: The annotation that learns nothing from what was shown there.
        pages: Numbers of the pages, from 1.
    """

    task: int
    project: int | None
    annotation: int
    pages: tuple[int, ...]

    def __str__(self) -> str:
        where = ", ".join(_whereabouts(self.project, self.task))
        pages, are_not = ("page", "is not the one") if len(self.pages) == 1 else ("pages", "are not those")
        pages += f" {', '.join(map(str, self.pages))}"
        return f"{where}, annotation {self.annotation}: {pages} {are_not} that boxes were shown on"

    @property
    def remedy(self) -> str:
        """The way out, as one sentence of an instruction."""
        project = "ID" if self.project is None else self.project
        return (
            "put the pages back where they were, then `worker --unpark`; where the new ones are right, delete the "
            f"annotation in Label Studio, run `prelabel --project {project} --refresh`, and annotate the task again"
        )
