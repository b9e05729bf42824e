"""Writes docs/reference/config.md and errors.md from the package's own tables; `--check` compares.

python docs/reference.py [--check]
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import forge_min
from forge_min.config import TABLE
from forge_min.doctor import GROUPS as DOCTOR

FOLDER = Path(__file__).parent / "reference"
CODES = Path(forge_min.__file__).parent / "codes.toml"
GROUPS = {
    "F0": "Command line",
    "F1": "Schemas",
    "F2": "Configuration",
    "F3": "Pages, generated code, migrations, artifacts",
    "F4": "Database",
    "F5": "Servers",
    "F6": "Actions",
    "F7": "Jobs",
    **{prefix: f"What `doctor` asks: {title}" for prefix, title in DOCTOR.items()},
}


def config() -> str:
    """Every key, in the order of the table."""
    lines = [
        "# Configuration",
        "",
        "defaults < `forge.toml` < environment. `section.key` is `FORGE_SECTION_KEY`, always.",
        "Durations are written `250ms`, `5s`, `10m`, `24h`, `7d`; sizes `64KiB`, `1MiB`; lists and",
        "tables take TOML syntax: `FORGE_JOBS_QUEUES='{default = 10, mail = 2}'`.",
        "`forge-min config --sources` shows each value and its source.",
        "",
        "`FORGE_ENV` is development (default), test or production; `FORGE_CONFIG` names a file to",
        "read instead of forge.toml. `FORGE_IMPL=c` or `python` forces a core. At build time",
        "`FORGE_REQUIRE_EXT=1` makes a missing compiler fail, `FORGE_PURE=1` builds without it,",
        "`FORGE_ABI3=1` one core for every CPython from 3.11 on.",
    ]
    section = ""
    for key in TABLE:
        name, _, _ = key.name.partition(".")
        if name != section:
            section = name
            lines += ["", f"## {section}", "", "| key | type | default | variable | meaning |"]
            lines += ["|---|---|---|---|---|"]
        also = "".join(f", `{alias}`" for alias in key.aliases)
        default = "" if key.default == "" else f"`{_toml(key.default)}`"
        lines.append(
            f"| `{key.name}` | {key.type} | {default} | `{key.variable}`{also} | {key.help} |"
        )
    return "\n".join(lines) + "\n"


def errors() -> str:
    """Every code, by group."""
    codes = tomllib.loads(CODES.read_text(encoding="utf-8"))
    lines = ["# Error codes", "", "`forge-min help CODE` prints the same text.", ""]
    for prefix, title in GROUPS.items():
        lines += [f"## {title}", ""]
        for code in sorted(c for c in codes if c.startswith(prefix)):
            title = codes[code]["title"]  # apart from the code, which the link of the section is
            lines += [f"### {code}", "", f"**{title[:1].upper()}{title[1:]}.**", ""]
            lines += [codes[code]["text"].strip(), ""]
            lines += [f"Next: `{codes[code]['next']}`", ""] if "next" in codes[code] else []
    return "\n".join(lines).rstrip() + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else str(value)


def main() -> int:
    """0 when the files are as they should be."""
    stale = []
    for name, text in (("config.md", config()), ("errors.md", errors())):
        path = FOLDER / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
    print(" ".join(stale) or "up to date")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
