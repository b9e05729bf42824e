"""The HTML templates, and their words in the current language (`${words.save}`).

setup.py compiles each template to the module of its name when the package is built.
"""

from __future__ import annotations

from ...i18n import later, text

__all__ = ["WORDS", "Words"]

_WORDS = {
    "again": later("Password, again"),
    "apply": later("Apply"),
    "back": later("Back to the list"),
    "cancel": later("Cancel"),
    "change": later("Change the password"),
    "clear": later("Clear"),
    "csv": later("CSV"),
    "current": later("Current password"),
    "delete": later("Delete"),
    "edit": later("Edit"),
    "email": later("Email"),
    "everywhere": later("Sign out everywhere else"),
    "filter": later("Filter"),
    "forgot": later("Forgot your password?"),
    "fresh": later("New password"),
    "history": later("History"),
    "new": later("New"),
    "next": later("Next"),
    "not_live": later("This page no longer updates itself. Reload it."),
    "nothing": later("You have no access to any list. Ask an administrator for a role."),
    "pages": later("Pages"),
    "password": later("Password"),
    "previous": later("Previous"),
    "reconnecting": later("Reconnecting: this page may be out of date."),
    "related": later("Related"),
    "required": later("required"),
    "resources": later("Resources"),
    "roles": later("Roles"),
    "save": later("Save"),
    "search": later("Search"),
    "seen": later("last seen"),
    "send": later("Send"),
    "sessions": later("Where you are signed in"),
    "sign_in": later("Sign in"),
    "sign_out": later("Sign out"),
    "since": later("since"),
    "skip": later("Skip to the content"),
    "start": later("Go to the start page"),
    "this": later("this one"),
    "undo": later("Undo"),
    "unknown": later("No response: it may have been saved. Check before you submit again."),
    "wrong": later("This was not saved:"),
}


class Words:
    """Each word as an attribute, in the current language."""

    def __getattr__(self, name: str) -> str:
        if name not in _WORDS:
            raise AttributeError(name)
        return text(_WORDS[name])


WORDS = Words()
