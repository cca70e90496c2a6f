"""Who may spend what: each try reserves its worst case here before its first byte, and settles when it has ended."""
