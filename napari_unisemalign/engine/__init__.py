"""Child processes that run the engine."""
