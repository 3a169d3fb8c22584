"""The orders in which cases can be listed."""

import math
import re

from metassl import ROLES

from .CaseRow import SEVERITIES


def inOrder(rows, key, descending):
    """CaseRows sorted by a key of ``SORT_KEYS``; those of which it says nothing come last."""
    known = [row for row in rows if key(row) is not None]
    return sorted(known, key=key, reverse=descending) + [row for row in rows if key(row) is None]


def _byName(row):
    """2 before 10."""
    parts = re.split("([0-9]+)", row.id.casefold())
    return [int(part) if n % 2 else part for n, part in enumerate(parts)]


def _byStatus(row):
    """The worst first."""
    return (-SEVERITIES.index(row.severity), row.status) if row.status or row.severity else None


SORT_KEYS = (
    _byName,
    lambda row: ROLES.index(row.role),
    _byStatus,
    lambda row: math.prod(row.size) if row.size else None,
    lambda row: math.prod(row.spacing) if row.spacing else None,
    lambda row: ", ".join(row.labels) or None,
    lambda row: row.agreement,
)
"""What the columns of the table of cases are sorted by."""
