"""Memory does not grow with the length of a video."""

import gc

import numpy as np
import psutil
import pytest

from metrics.mawe import Mawe
from metrics.scoring import VideoScorer


@pytest.mark.slow
def test_resident_memory_is_flat_over_a_long_video():
    frame = np.random.default_rng(0).integers(0, 255, (512, 512, 3), dtype=np.uint8)
    scorer = VideoScorer({"mawe": Mawe(flow="dis", size=512)}, "", 10.0)

    def resident_after(pairs: int) -> float:
        for shift in range(pairs // 8):
            scorer.update(np.stack([np.roll(frame, 2 * (8 * shift + i), axis=1) for i in range(8)]))
        gc.collect()
        return psutil.Process().memory_info().rss / 2**20

    first = resident_after(48)
    # One flow field is 2 MiB: keeping one per pair, or pinning the heap between them, would add 240.
    assert resident_after(120) - first < 60
