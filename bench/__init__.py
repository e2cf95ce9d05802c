"""The harness: plans, runs, stores and reports the long text-to-video benchmark."""
