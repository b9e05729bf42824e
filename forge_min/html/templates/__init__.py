"""The HTML templates, and their words in the current language (`${words.save}`).

setup.py compiles each template to the module of its name when the package is built.
"""

from __future__ import annotations

from ...i18n import gettext_noop, text

__all__ = ["WORDS", "Words"]

_WORDS = {
    "again": gettext_noop("Password, again"),
    "apply": gettext_noop("Apply"),
    "back": gettext_noop("Back to the list"),
    "cancel": gettext_noop("Cancel"),
    "change": gettext_noop("Change the password"),
    "chart": gettext_noop("The table below has all values."),
    "clear": gettext_noop("Clear"),
    "csv": gettext_noop("CSV"),
    "current": gettext_noop("Current password"),
    "delete": gettext_noop("Delete"),
    "edit": gettext_noop("Edit"),
    "email": gettext_noop("Email"),
    "everywhere": gettext_noop("Sign out everywhere else"),
    "filter": gettext_noop("Filter"),
    "forgot": gettext_noop("Forgot your password?"),
    "fresh": gettext_noop("New password"),
    "history": gettext_noop("History"),
    "new": gettext_noop("New"),
    "next": gettext_noop("Next"),
    "next_state": gettext_noop("Next state"),
    "not_live": gettext_noop("This page no longer updates itself. Reload it."),
    "notes": gettext_noop("Notes"),
    "nothing": gettext_noop("You have no access to any list. Ask an administrator for a role."),
    "pages": gettext_noop("Pages"),
    "password": gettext_noop("Password"),
    "previous": gettext_noop("Previous"),
    "reconnecting": gettext_noop("Reconnecting: this page may be out of date."),
    "reason": gettext_noop("Reason"),
    "related": gettext_noop("Related"),
    "required": gettext_noop("required"),
    "resources": gettext_noop("Resources"),
    "roles": gettext_noop("Roles"),
    "save": gettext_noop("Save"),
    "search": gettext_noop("Search"),
    "seen": gettext_noop("last seen"),
    "send": gettext_noop("Send"),
    "sessions": gettext_noop("Where you are signed in"),
    "sign_in": gettext_noop("Sign in"),
    "sign_out": gettext_noop("Sign out"),
    "since": gettext_noop("since"),
    "skip": gettext_noop("Skip to the content"),
    "start": gettext_noop("Go to the start page"),
    "state": gettext_noop("State"),
    "states": gettext_noop("All states"),
    "this": gettext_noop("this one"),
    "transition": gettext_noop("Transition"),
    "undo": gettext_noop("Undo"),
    "unknown": gettext_noop("No response: it may have been saved. Check before you submit again."),
    "wrong": gettext_noop("This was not saved:"),
}


class Words:
    """Each word as an attribute, in the current language."""

    def __getattr__(self, name: str) -> str:
        if name not in _WORDS:
            raise AttributeError(name)
        return text(_WORDS[name])


WORDS = Words()
