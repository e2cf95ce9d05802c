"""The seed of every chunk of every video.

Example:
    >>> chunk_seed(0, "a red ball", 1) == chunk_seed(0, "a red ball", 1)
    True
"""

from __future__ import annotations

import hashlib


def chunk_seed(seed: int, prompt: str, chunk: int) -> int:
    """Returns the seed of one chunk of one video, 0 <= seed < 2**63; chunk 0 is the shared first chunk.

    A hash rather than `seed + chunk`: a constant or shared seed repeats the same motion in every chunk, and
    consecutive ones make video 1's second chunk use the noise of video 2's first.
    """
    digest = hashlib.sha256(f"{seed}\n{chunk}\n{prompt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
