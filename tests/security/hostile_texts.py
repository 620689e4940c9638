"""Texts that were written to become something else: SQL, a path, a format, a shell's word, a terminal's command."""

from __future__ import annotations

import random
from collections.abc import Iterator

STATEMENTS = (
    "DROP TABLE ofs_ids", "SELECT * FROM read_text('/etc/hostname')", "COPY (SELECT 1) TO '/tmp/ofs-was-here'", "ATTACH 'x.db'",
    "SET enable_external_access = true", "INSTALL httpfs", "PRAGMA database_list", "UPDATE runs SET state = 'DONE'",
    "DELETE FROM events WHERE true", "1 OR 1 = 1", "pg_sleep(5)", "getenv('HOME')",
)
WRAPPERS = (
    "'; {} --", '"; {}; --', "'); {}; /*", '"); {}; /*', "') UNION {} --", "x' || ({}) || '", "$$; {}; $$", "$tag$ {} $tag$", "; {};",
    "({})", "`{}`", "[{}]", "E'\\'; {} --", "\\'; {} --", "/* {} */", "-- {}\n", "{}\0", "x\0'; {} --", "\u2019; {} --", "\uff07; {} --",
)
WORDS = (
    "'", '"', '""', "''", ";", "--", "/*", "*/", "*", "COLUMNS(*)", "$$", "$1", "$x", "?", ":x", "%s", "%n", "%(x)s", "%%", "{}", "{0}",
    "{x}", "{{", "{0.__class__}", "${HOME}", "$(id)", "`id`", "|id", "${jndi:ldap://127.0.0.1:1/x}", "\\", "\\x00", "\\u0027", "\0", "\t",
    "\n", "\r\n", "\x1b[2J", "\x1b]0;x\x07", "\x7f", "\x9b2J", "\u202e", "\u200b", "\ufeff", "\u00a0", " ", "  ", "", "é", "e\u0301",
    "\U0001f600", "\u0130", "\u212a", "ß",
    "select", "from", "table", "default", "null", "true", "NaN", "group", "order", "rowid", "events", "labels", "ofs_ids", "ofs_events",
    "c0", "c1", "main", "memory", "__class__", "__proto__", "constructor", ".", "..", "/", "a.b", "a..b", ".a", "a.", "a[0]", "a->b",
    "a::int", "0", "-1", "1e999", "0x1f", "007", "x" * 3_000, "'" * 500, "(" * 500, "\U0010ffff", "a,b", "a;b", "a|b", "=1+1", "@sum(1)",
    "<script>", "&amp;",
)


def hostile_texts(count: int, seed: int = 13) -> Iterator[str]:
    """That many texts: first every word and every statement in every wrapper, then mixtures."""
    fixed = [*WORDS, *(wrapper.replace("{}", statement) for statement in STATEMENTS for wrapper in WRAPPERS)]
    draw = random.Random(seed)
    draw.shuffle(fixed)
    yield from fixed[:count]
    for _ in range(count - len(fixed)):
        pieces = draw.choices((*WORDS[:60], *STATEMENTS, "customer_id", "amount", " = ", " and ", "count()", "1"), k=draw.randint(2, 5))
        yield draw.choice(WRAPPERS).replace("{}", "".join(pieces)) if draw.random() < 0.5 else "".join(pieces)
