"""From a change to a pass: which key is looked at when, what is gathered for it, and what is done with the decision.

With it the probes, which tell whether the loop turns.
"""
