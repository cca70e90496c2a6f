"""Recovery proved: one scenario, and the operator killed after each of its writes, or hit by faults of the API server."""
