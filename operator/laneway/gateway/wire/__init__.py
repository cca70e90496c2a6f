"""The wire APIs: how calls of each are changed on the way out, read on the way back, and refused. No I/O."""
