"""The pod of an attempt: how it and what stands beside it are built, and what keeps it from starting. Pure."""
