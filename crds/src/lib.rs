//! The VirtualCluster and VirtualClusterPolicy types and their CRDs.
