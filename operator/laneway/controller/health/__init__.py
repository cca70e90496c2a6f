"""How well a lane's models and its account are. Pure.

What was heard of each, how long it rests, and who tries first when that is over.
"""
