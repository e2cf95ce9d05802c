r"""Placeholders in the arguments and files of a program: {prompt}, {seed}, {file:NAME} and the others.

Example:
    >>> filled('{"prompt": {json:prompt}, "frames": {num_frames}}', {"prompt": 'a "red" ball', "num_frames": "17"})
    '{"prompt": "a \\"red\\" ball", "frames": 17}'
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

PLACEHOLDERS = (
    "prompt", "prompt_file", "start_video", "start_image", "start_dir", "num_frames", "new_frames", "latents",
    "rollouts", "seed", "height", "width", "fps", "out", "out_dir", "work",
)  # fmt: skip
"""What may stand in braces, beside file:NAME; json:NAME writes one as a quoted text of JSON, which YAML reads too."""

_BRACES = re.compile(r"\{([a-z_]+(?::[^{}\s]+)?)\}")


def filled(template: str, values: Mapping[str, str]) -> str:
    """Returns a template with every placeholder replaced; other braces stay as they are."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name.startswith("json:") and name[5:] in values:
            return json.dumps(values[name[5:]], ensure_ascii=False)
        return values.get(name, found[0])

    return _BRACES.sub(value, template)


def check_placeholders(templates: Iterable[str], files: Iterable[str]) -> None:
    """Raises ValueError if a template has a word in braces that is no placeholder, or files have no plain name."""
    valid = {*PLACEHOLDERS, *(f"json:{name}" for name in PLACEHOLDERS), *(f"file:{name}" for name in files)}
    for name in files:
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or name.startswith("."):
            raise ValueError(f"files.{name}: give a plain file name")
    for template in templates:
        for name in _BRACES.findall(template):
            if name not in valid:
                close = get_close_matches(name, valid) or sorted(valid)
                raise ValueError(f"{{{name}}} is no placeholder; there are {', '.join(close)}")
