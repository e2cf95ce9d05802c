"""AnimateDiff, which SparseCtrl and one FreeNoise stand on: pipeline, miniature training of its motion modules."""
