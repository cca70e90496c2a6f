module laneway.dev/hack/prometheus-operator

go 1.24.1

require github.com/prometheus-operator/prometheus-operator v0.87.1
