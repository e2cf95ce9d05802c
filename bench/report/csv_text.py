"""CSV as text.

Example:
    >>> write_csv(["method", "mean"], [["still", None]]).splitlines()
    ['method,mean', 'still,']
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def write_csv(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns CSV text; None becomes an empty field, floats keep every digit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return out.getvalue()
