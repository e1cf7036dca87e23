"""How a trained classifier is asked, and what it writes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from infuse.core.errors import UserError
from infuse.core.files import read_json, write_json
from infuse.data.targets import Target

FORM = "classifier.json"


@dataclass(frozen=True)
class Form:
    """What a classifier was trained to be asked and to write; `classifier.json` in its folder.

    Attributes:
        labels: names, in the order of all scores.
        separator: between label and reasoning; of multi_task, after a text that is asked for its
            reasoning; None where the target is the label alone.
        chat: the system message, and the date that a chat template may print.
        columns: what a text is put together of, where it is more than one (`texts.joined`).
    """

    labels: list[str]
    target: Target
    separator: str | None
    chat: dict[str, str]
    columns: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write the form beside the model."""
        write_json(folder / FORM, asdict(self))

    @staticmethod
    def load(folder: Path) -> Form:
        """The form of the classifier in a folder.

        Raises:
            UserError: there is none.
        """
        if not (folder / FORM).is_file():
            raise UserError(f"{folder}: not a classifier ({FORM} is missing)")
        try:
            return Form(**read_json(folder / FORM))
        except TypeError as damage:
            raise UserError(f"{folder / FORM}: {damage}") from None
