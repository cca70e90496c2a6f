"""The limits of a run and the spending of a namespace: what is used, what is reached, and what follows from that. Pure."""
