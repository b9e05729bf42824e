"""The actions of Note. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.note import NoteActions as Generated


class NoteActions(Generated):
    """The generated actions of notes with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold ec6f61c109895061
