"""A run whose agent is at work: what is noticed of it, what bites, how it moves on. Pure. Its limits are in ``limits``."""
