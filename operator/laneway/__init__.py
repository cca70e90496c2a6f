"""Laneway: AI agents as Kubernetes resources, and fair queues for the models they share."""

__version__ = "0.1.0"
