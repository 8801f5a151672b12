//! Clusters that wait for another one to go.
//!
//! Nothing on the host changes for them when it does, so whoever sees a VirtualCluster go wakes them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::channel::mpsc::UnboundedSender;

use crate::context::ClusterRef;

/// The clusters that wait.
#[derive(Clone)]
pub struct Waiting {
    wake: UnboundedSender<ClusterRef>,
    clusters: Arc<Mutex<HashSet<ClusterRef>>>,
}

impl Waiting {
    /// Nobody yet; clusters to wake go to `wake`.
    pub fn new(wake: UnboundedSender<ClusterRef>) -> Self {
        Self { wake, clusters: Arc::default() }
    }

    /// Has the cluster woken when another goes, once. To be said *before* it is looked whether that one is still there:
    /// else it may go between the look and the word.
    pub fn enter(&self, namespace: &str, name: &str) {
        self.with(|clusters| clusters.insert(ClusterRef::new(name).within(namespace)));
    }

    /// The cluster waits no more.
    pub fn leave(&self, namespace: &str, name: &str) {
        self.with(|clusters| clusters.remove(&ClusterRef::new(name).within(namespace)));
    }

    /// Another has gone, or may have: wakes everybody.
    pub fn wake(&self) {
        for cluster in self.with(std::mem::take) {
            // The receiver ends with the operator.
            let _ = self.wake.unbounded_send(cluster);
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashSet<ClusterRef>) -> T) -> T {
        work(&mut self.clusters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc;

    use super::*;

    #[test]
    fn who_waits_is_woken_once_and_who_has_left_is_not() {
        let (wake, mut woken) = mpsc::unbounded();
        let waiting = Waiting::new(wake);
        for name in ["a", "a", "b"] {
            waiting.enter("tenants", name);
        }
        waiting.leave("tenants", "b");
        waiting.wake();
        waiting.wake();
        assert_eq!(woken.try_recv().unwrap(), ClusterRef::new("a").within("tenants"));
        assert!(woken.try_recv().is_err());
    }
}
