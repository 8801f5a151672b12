//! Allocation by several servers over one store.
//!
//! What is taken is known from memory, which may lag behind what another server gives at the same moment. So what a Service
//! takes is written in the same commit as the Service, under keys that must not exist: two commits that take the same
//! cannot both succeed. For addresses those are the IPAddress objects; for node ports, keys that only servers see.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde_json::Value;
use vkube_store::{Change, Document, Expect, Write};

use super::range::{Claim, RangeAllocator, claim};
use crate::{follow::Follower, metadata};

/// Under which keys it says who holds node ports.
const NODE_PORTS: &str = "/ranges/servicenodeports/";

/// What follows for the keys of node ports when a Service changes from `old` to `new`.
pub fn node_ports(old: Option<&Value>, new: Option<&Value>) -> Vec<Write> {
    let held = |service: Option<&Value>| service.map(claim).unwrap_or_default().ports;
    let key = |(port, protocol): &(u16, String)| format!("{NODE_PORTS}{protocol}/{port}");
    let (before, now) = (held(old), held(new));
    let gone = before.iter().filter(|port| !now.contains(port)).map(|port| Write {
        key: key(port),
        expect: Expect::Any,
        change: Change::Delete { last: None },
    });
    let taken = now.iter().filter(|port| !before.contains(port)).map(|port| {
        let holder = new.map(identity).unwrap_or_default();
        let document = Document { bytes: holder.into(), revision_at: None, index: Bytes::new() };
        Write { key: key(port), expect: Expect::Absent, change: Change::Put { document, ttl: None } }
    });
    gone.chain(taken).collect()
}

fn identity(service: &Value) -> String {
    format!("{}/{}", metadata::namespace(service), metadata::name(service))
}

/// Tells an allocator what all servers give.
pub struct Followed {
    allocator: Arc<RangeAllocator>,
    held: Mutex<HashMap<String, Claim>>,
}

impl Followed {
    /// For this allocator.
    pub fn new(allocator: Arc<RangeAllocator>) -> Self {
        Self { allocator, held: Mutex::default() }
    }

    /// A Service holds this now, and nothing if that is `None`.
    fn note(&self, service: &Value, now: Option<Claim>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let before = held.remove(&identity(service));
        match now {
            Some(now) => {
                self.allocator.learn(before, &now);
                held.insert(identity(service), now);
            }
            None => self.allocator.learn(before, &Claim::default()),
        }
    }
}

impl Follower for Followed {
    fn group(&self) -> &'static str {
        ""
    }

    fn resources(&self) -> &'static [&'static str] {
        &["services"]
    }

    fn reset(&self, _: &'static str, objects: Vec<Value>) {
        let known = std::mem::take(&mut *self.held.lock().unwrap_or_else(PoisonError::into_inner));
        for before in known.into_values() {
            self.allocator.learn(Some(before), &Claim::default());
        }
        for service in &objects {
            self.note(service, Some(claim(service)));
        }
    }

    fn put(&self, _: &'static str, object: &Value) {
        self.note(object, Some(claim(object)));
    }

    fn remove(&self, _: &'static str, object: &Value) {
        self.note(object, None);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(ports: &[u16]) -> Value {
        let ports: Vec<Value> = ports.iter().map(|p| json!({"port": 80, "nodePort": p})).collect();
        json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"ports": ports}})
    }

    #[test]
    fn a_port_is_taken_under_a_key_that_must_not_exist_and_given_back() {
        let writes = node_ports(Some(&service(&[30001, 30002])), Some(&service(&[30002, 30003])));
        let shown: Vec<_> = writes.iter().map(|w| (w.key.as_str(), w.expect)).collect();
        assert_eq!(
            shown,
            [
                ("/ranges/servicenodeports/TCP/30001", Expect::Any),
                ("/ranges/servicenodeports/TCP/30003", Expect::Absent)
            ]
        );
        assert!(matches!(writes[0].change, Change::Delete { .. }));
    }
}
