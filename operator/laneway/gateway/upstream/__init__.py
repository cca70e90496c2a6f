"""The model servers' side: the one door to them, which addresses it opens to, the lanes' keys and headers, and the probes."""
