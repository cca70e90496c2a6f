"""A soak of the gateway: very many calls with faults, and the ledger against what the clients saw."""
