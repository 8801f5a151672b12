//! The Kubernetes API as a tower service over a store.
