"""SparseCtrl: method, miniature training."""
