"""What listens: for agents, for the operator, and for the kubelet and Prometheus."""
