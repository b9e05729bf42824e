"""Names and literals in SQL text: quoting. Pure."""

from __future__ import annotations

import re

from ..errors import BuildError

LONGEST = 63  # bytes: NAMEDATALEN - 1 (PostgreSQL manual, section 4.1.1)
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
CONTROL = re.compile(r"[\x01-\x1f\x7f\\]")
# Every word that quote_ident() quotes on PostgreSQL 15 to 18 (a test compares).
_RESERVED_WORDS = """
all analyse analyze and any array as asc asymmetric authorization between bigint binary bit
boolean both case cast char character check coalesce collate collation column concurrently
constraint create cross current_catalog current_date current_role current_schema current_time
current_timestamp current_user dec decimal default deferrable desc distinct do else end except
exists extract false fetch float for foreign freeze from full grant greatest group grouping having
ilike in initially inner inout int integer intersect interval into is isnull join json json_array
json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize
json_table json_value lateral leading least left like limit localtime localtimestamp merge_action
national natural nchar none normalize not notnull null nullif numeric offset on only or order out
outer overlaps overlay placing position precision primary real references returning right row
select session_user setof similar smallint some substring symmetric system_user table tablesample
then time timestamp to trailing treat trim true union unique user using values varchar variadic
verbose when where window with xmlattributes xmlconcat xmlelement xmlexists xmlforest
xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
RESERVED = frozenset(_RESERVED_WORDS.split())
# Names a table has anyway (PostgreSQL manual, section 5.6).
SYSTEM_COLUMNS = frozenset(["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"])


def identifier(name: str) -> str:
    """A name as it is written in SQL: quoted where it must be.

    Raises BuildError F330 for a name that PostgreSQL would cut or cannot hold.
    """
    if not name or "\0" in name or len(name.encode()) > LONGEST:
        raise BuildError(
            f"{name!r} cannot be a name in PostgreSQL: it has more than {LONGEST} bytes or none",
            code="F330",
        )
    if PLAIN.fullmatch(name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A string as it is written in SQL, whatever standard_conforming_strings says, on one line.

    Raises BuildError F330 for a NUL or a lone surrogate, which no text of PostgreSQL can hold.
    """
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BuildError(f"{text!r} cannot be a text in PostgreSQL", code="F330")
    quoted = text.replace("'", "''")
    if not CONTROL.search(text):
        return f"'{quoted}'"
    return "E'" + CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", quoted) + "'"
