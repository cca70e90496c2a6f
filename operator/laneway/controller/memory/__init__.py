"""What the operator keeps in memory between its passes: the cache as decisions want it, and notes beside it.

Losing any of it loses nothing that cannot be had again.
"""
