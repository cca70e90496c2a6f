"""What the gateway knows of the cluster, and what a call needs of that: who makes it, and where it goes."""
