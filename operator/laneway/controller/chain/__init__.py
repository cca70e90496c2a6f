"""The chain of a run: its steps, whether it may take one and if not why, and its moves from step to step, by us and by people. Pure."""
