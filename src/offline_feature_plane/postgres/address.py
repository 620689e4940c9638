"""Where a database of ours is: a libpq address, which never holds a password, and the name of the schema with the tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from offline_feature_plane.contracts.model import nearest
from offline_feature_plane.errors import SettingsInvalid

SCHEMES: Final = ("postgresql", "postgres")
DEFAULT_SCHEMA: Final = "ofs"
LABEL_SCHEMA: Final = "ofs_labels"  # of a label store: beside a ledger, for others may own it

_SECRETS: Final = frozenset({"password", "sslpassword"})
_PARAMETERS: Final = (
    "application_name", "channel_binding", "dbname", "gssdelegation", "gssencmode", "gsslib", "host", "hostaddr", "krbsrvname",
    "load_balance_hosts", "options", "passfile", "port", "require_auth", "requirepeer", "schema", "service", "servicefile", "sslcert",
    "sslcrl", "sslcrldir", "sslkey", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "ssl_max_protocol_version",
    "ssl_min_protocol_version", "target_session_attrs", "user")
_SCHEMA: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_BY_REFERENCE: Final = ("Give it by reference: a password file (~/.pgpass, `?passfile=FILE` or PGPASSFILE), a service (`?service=NAME`), "
                        "or the variable PGPASSWORD.")


@dataclass(frozen=True)
class Address:
    """A ledger's or a label store's place.

    Attributes:
        text: as it was written; it holds no secret.
        conninfo: the same for libpq, without our own parameter.
        schema: the schema that the tables are in; a plain name (`is_schema`).
    """

    text: str
    conninfo: str
    schema: str


def is_address(text: str) -> bool:
    """Is this meant as the address of a PostgreSQL database?

    >>> is_address("postgresql://ofs@db.example/plane"), is_address(".ofs/ledger.sqlite")
    (True, False)
    """
    return text.partition("://")[0] in SCHEMES and "://" in text


def is_schema(name: str) -> bool:
    """May a schema be called that? Only plain names, so that no statement needs quotes.

    >>> is_schema("ofs_cards"), is_schema("pg_mine"), is_schema('x"; DROP')
    (True, False, False)
    """
    return _SCHEMA.fullmatch(name) is not None


def address_from(text: str, schema: str = DEFAULT_SCHEMA) -> Address:
    """Read `postgresql://user@host:5432/database?sslmode=verify-full&schema=ofs`; messages never repeat what was written.

    Args:
        text: what was written.
        schema: the schema, where the address names none.

    Raises:
        SettingsInvalid: it is of another system, holds a password or an unknown parameter, or cannot be read.

    >>> address_from("postgresql://ofs@db.example/plane?schema=cards&sslmode=require")
    Address(text='postgresql://ofs@db.example/plane?schema=cards&sslmode=require', \
conninfo='postgresql://ofs@db.example/plane?sslmode=require', schema='cards')
    """
    if not is_address(text):
        raise SettingsInvalid("a ledger is a local file, or a PostgreSQL database.", fix="Write postgresql://user@host:5432/database.")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise _unreadable() from None
    if "@" in parts.path + parts.query or parts.fragment:
        raise _unreadable()
    parameters = [one.partition("=")[::2] for one in parts.query.split("&") if one]
    if parts.netloc.rpartition("@")[0].partition(":")[2] or any(name in _SECRETS for name, _ in parameters):
        raise SettingsInvalid("the address holds a password, which would be read by everybody who reads the settings.", fix=_BY_REFERENCE)
    for name, _ in parameters:
        if name not in _PARAMETERS:
            known = nearest(name, _PARAMETERS)
            raise SettingsInvalid(f"the address has an unknown parameter. {known}".strip(), fix="Leave it out.")
    schema = dict(parameters).get("schema", schema)
    if not is_schema(schema):
        raise SettingsInvalid("the schema in the address is not a plain name.",
                              fix="Use up to 63 lower-case letters, digits and `_`, not beginning with a digit or `pg_`.")
    rest = "&".join(f"{name}={value}" for name, value in parameters if name != "schema")
    return Address(text, urlunsplit(parts._replace(query=rest)), schema)


def _unreadable() -> SettingsInvalid:
    return SettingsInvalid("the address cannot be read.", fix="Write postgresql://user@host:5432/database, and other characters in its "
                                                              "parts by their codes: `@` as %40, `/` as %2F, `#` as %23.")
