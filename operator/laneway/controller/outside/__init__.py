"""Everything that reaches out of the process: writes and reads at the API server, the gateway, logs, files and the clock."""
