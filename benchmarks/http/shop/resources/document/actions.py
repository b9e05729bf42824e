"""The actions of Document. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.document import DocumentActions as Generated


class DocumentActions(Generated):
    """The generated actions of documents with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 7c2497e8964e7d37
