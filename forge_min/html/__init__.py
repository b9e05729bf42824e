"""HTML pages of every resource, account pages, and their layout; usable without JavaScript.

Artifacts of projects without such pages lack the modules that are loaded lazily here
(`ship.artifact.unused`).
"""

from typing import TYPE_CHECKING

from ..lazy import lazy_exports
from .account import AccountLinks, SendAccountLinks, reset_path
from .fields import AnyActions, FormField, display_fields, input_fields, label_of
from .layout import (
    BRAND_STYLESHEET,
    HELP,
    KEYS,
    PEOPLE,
    REPORTS,
    TENANTS,
    Account,
    Brand,
    DeclaredForm,
    DeclaredPage,
    Home,
    Layout,
    ProblemPages,
    Render,
)
from .templates import manual as manual_page
from .templates import manual_file

if TYPE_CHECKING:
    from .account.administration import AdministrationPages
    from .account.pages import AccountPages
    from .form_page import FormPage
    from .home import show_home
    from .lists import PerformOnRows
    from .report import list_reports, show_report
    from .resource import ROW_PAGES, ResourcePages

__getattr__ = lazy_exports(
    __name__,
    {
        "account.administration": ["AdministrationPages"],
        "account.pages": ["AccountPages"],
        "form_page": ["FormPage"],
        "home": ["show_home"],
        "lists": ["PerformOnRows"],
        "report": ["list_reports", "show_report"],
        "resource": ["ROW_PAGES", "ResourcePages"],
    },
)

__all__ = [
    "Account", "AccountLinks", "AccountPages", "AdministrationPages", "AnyActions",
    "BRAND_STYLESHEET", "Brand", "DeclaredForm", "DeclaredPage", "FormField", "FormPage", "HELP",
    "Home", "KEYS", "Layout", "PEOPLE", "PerformOnRows", "ProblemPages", "REPORTS", "ROW_PAGES",
    "Render", "ResourcePages", "SendAccountLinks", "TENANTS", "display_fields", "input_fields",
    "label_of", "list_reports", "manual_file", "manual_page", "reset_path", "show_home",
    "show_report",
]  # fmt: skip
