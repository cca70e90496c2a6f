"""Benchmarks: programs that measure, print a table, write JSON and say by their exit code whether the targets are met."""
