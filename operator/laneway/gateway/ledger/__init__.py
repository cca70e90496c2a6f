"""The ledger: one row for every call, in SQLite.

Who writes it and when, what a fault of the disk means, and the commands that read it.
"""
