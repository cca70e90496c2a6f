"""A run without a slot, before its first attempt or between two. Pure.

What it waits for, which step and model it takes, and what follows the attempt that has ended.
"""
