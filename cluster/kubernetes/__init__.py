"""Programs of the pods that the Helm chart (k8s/chart) makes, beside Ray itself."""
