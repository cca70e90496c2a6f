"""The way of a call: it waits for its model and for a place, is tried, relayed and settled, and walks on when its step fails."""
