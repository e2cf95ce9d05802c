"""The cached features of one video: what need not be computed again, and where to keep what is new.

Example:
    >>> import tempfile
    >>> from pathlib import Path
    >>> from metrics.mawe import Mawe
    >>> metrics = {"mawe": Mawe(flow="dis", size=64)}
    >>> kept = KeptFeatures(FeatureCache(Path(tempfile.mkdtemp())), "a hash", "a red ball")
    >>> kept.find(metrics)
    {}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from metrics.api import Metric
from metrics.features.base import Arrays, Feature, FeatureReader
from metrics.features.cache import FeatureCache


@dataclass(frozen=True)
class KeptFeatures:
    """Looks up and keeps the features of one video.

    Attributes:
        cache: where they are.
        content: hash of the video; see `metrics.features.cache.content_hash`.
        prompt: text the video was made from; may be empty.
    """

    cache: FeatureCache
    content: str
    prompt: str

    def find(self, metrics: Mapping[str, Metric]) -> dict[Feature, Arrays]:
        """Returns the arrays of those features of these metrics that the cache holds."""
        readers = (metric for metric in metrics.values() if isinstance(metric, FeatureReader))
        features = dict.fromkeys(feature for reader in readers for feature in reader.features())
        found = {feature: self.cache.get(self.content, feature.identity(self.prompt)) for feature in features}
        return {feature: arrays for feature, arrays in found.items() if arrays is not None}

    def keep(self, tables: Mapping[Feature, Arrays], known: Mapping[Feature, Arrays]) -> None:
        """Keeps the arrays that the cache does not hold yet.

        Args:
            tables: by feature, as `VideoScorer.tables`.
            known: what `find` gave.
        """
        for feature, arrays in tables.items():
            if feature not in known:
                self.cache.put(self.content, feature.identity(self.prompt), arrays)
