//! What kube-controller-manager does, one file a controller.
