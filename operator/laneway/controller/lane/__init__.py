"""A lane and all its runs: who stands in line, who gets a slot, and what the lane's status and its Events say. Pure."""
