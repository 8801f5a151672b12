//! Reconciles VirtualCluster resources on the host.
