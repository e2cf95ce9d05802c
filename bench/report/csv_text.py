"""CSV as text.

Data files hold texts as they are: a prompt that begins with `=` is that prompt to every program that reads the file,
and a formula to a spreadsheet that opens it.

Example:
    >>> write_csv(["method", "mean"], [["still", None]]).splitlines()
    ['method,mean', 'still,']
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def write_csv(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Returns CSV text; None becomes an empty field, floats keep every digit, a carriage return is a line feed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows([one_ending(cell) for cell in row] for row in rows)
    return out.getvalue()


def one_ending(cell: object) -> object:
    """Returns a cell in which every line ends in a line feed."""
    # Python 3.11 leaves a lone carriage return without quotes, and readers take it for the end of the row.
    return cell.replace("\r\n", "\n").replace("\r", "\n") if isinstance(cell, str) else cell
