"""Pages whose policy is weaker than that of all others."""

from __future__ import annotations

from collections.abc import Sequence

from .finding import Finding

SUBJECT = "pages"


def check_pages(evaluating: Sequence[str]) -> Sequence[Finding]:
    """evaluating: paths of the pages declared with unsafe_eval."""
    if not evaluating:
        return [Finding(SUBJECT, "ok", "no page lets scripts evaluate text")]
    listed = ", ".join(evaluating)
    hint = "only Datastar needs unsafe_eval; live.js and the patches it applies do not"
    return [Finding(SUBJECT, "warning", f"scripts may evaluate text on {listed}", hint)]
