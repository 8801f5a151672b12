//! The policies and bindings of the store, in memory.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use serde_json::Value;

use super::{Binding, Body, Hook, Policy};
use crate::{admission::GROUP, follow::Follower, metadata};

/// The policies that are bound.
pub struct Index<B> {
    known: Mutex<Known<B>>,
    hooks: RwLock<Arc<[Hook<B>]>>,
}

struct Known<B> {
    policies: BTreeMap<String, Arc<Policy<B>>>,
    bindings: BTreeMap<String, Arc<Binding>>,
}

impl<B> Default for Index<B> {
    fn default() -> Self {
        let known = Known { policies: BTreeMap::new(), bindings: BTreeMap::new() };
        Self { known: Mutex::new(known), hooks: RwLock::new(Arc::new([])) }
    }
}

impl<B: Body> Index<B> {
    /// The policies that are bound, by name.
    pub fn hooks(&self) -> Arc<[Hook<B>]> {
        self.hooks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, change: impl FnOnce(&mut Known<B>)) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut known);
        let hooks = known.hooks();
        *self.hooks.write().unwrap_or_else(PoisonError::into_inner) = hooks;
    }
}

impl<B: Body> Known<B> {
    /// Takes a policy; what is known of it stays if only its status has changed.
    fn policy(&mut self, policy: &Value) {
        let name = metadata::name(policy);
        if self.policies.get(name).is_none_or(|known| !known.is(policy)) {
            self.policies.insert(name.into(), Arc::new(Policy::read(policy)));
        }
    }

    fn binding(&mut self, binding: &Value) {
        self.bindings.insert(metadata::name(binding).into(), Arc::new(Binding::read(binding)));
    }

    fn hooks(&self) -> Arc<[Hook<B>]> {
        let bound = self.policies.values().map(|policy| {
            let bindings = self.bindings.values().filter(|binding| binding.policy == policy.name);
            Hook { policy: policy.clone(), bindings: bindings.cloned().collect() }
        });
        bound.filter(|hook| !hook.bindings.is_empty()).collect()
    }
}

impl<B: Body> Follower for Index<B> {
    fn group(&self) -> &'static str {
        GROUP
    }

    fn resources(&self) -> &'static [&'static str] {
        B::RESOURCES
    }

    fn reset(&self, resource: &'static str, objects: Vec<Value>) {
        self.change(|known| {
            if resource == B::RESOURCES[0] {
                let named = |name: &str| objects.iter().any(|object| metadata::name(object) == name);
                known.policies.retain(|name, _| named(name));
                for policy in &objects {
                    known.policy(policy);
                }
            } else {
                known.bindings.clear();
                for binding in &objects {
                    known.binding(binding);
                }
            }
        });
    }

    fn put(&self, resource: &'static str, object: &Value) {
        self.change(|known| {
            if resource == B::RESOURCES[0] {
                known.policy(object);
            } else {
                known.binding(object);
            }
        });
    }

    fn remove(&self, resource: &'static str, object: &Value) {
        let name = metadata::name(object);
        self.change(|known| {
            if resource == B::RESOURCES[0] {
                known.policies.remove(name);
            } else {
                known.bindings.remove(name);
            }
        });
    }
}
