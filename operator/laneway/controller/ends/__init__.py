"""How attempts and runs end. Pure.

The verdict, the words that stay, whether the task is tried again, and what is left to do after the end.
"""
