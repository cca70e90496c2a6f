"""What the end of an agent's log says: how its work ended, what it cost, which words are kept. Pure; ``outside`` reads the logs."""
