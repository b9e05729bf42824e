"""The actions of Course. Edit this file: forge-min does not write it again.

Override any method of forge_min.actions.Actions, which documents them.
"""

from forge_min.actions import Check

from gen.course import CourseActions as Generated


class CourseActions(Generated):
    """The generated actions of courses with the rules of this project."""

    def validate(self, check: Check) -> None:
        """Check rules beyond the schema's: check.error("field", "code", "message")."""


# forge: scaffold 5376729f69433ead
