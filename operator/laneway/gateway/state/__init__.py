"""What the operator may ask of the gateway: attempts, models and lanes as they are now, and how their calls went."""
