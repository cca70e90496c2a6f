"""The agent's side of a call: its request in memory, its answer, and the patience with both."""
