"""What is known when a decision is made: runs and lanes, pods and presets as plain values, and the views that hold all of it. Pure."""
