//! What a spec demands of its fields, held against what a configuration makes of them: a value that comes by a
//! `vcluster.yaml` passes no API server on its way.

use kube::Resource;
use serde_json::{Value, json};
use vkube_crds::{VirtualCluster, VirtualClusterSpec};

use super::{Asked, Wish, asks_nothing};
use crate::options::Refusal;
use crate::policy::overlay;

impl Asked {
    /// Holds what is asked against the CRD, which `admit` knows, as if the spec itself asked for it; then against the types
    /// here. What is wrong with the spec by itself is not the configuration's fault.
    pub fn judge(&mut self, cluster: &VirtualCluster, admit: fn(&Value) -> Vec<Refusal>) {
        let mut refusals = admit(&whole(cluster, self.wishes.iter()));
        if !refusals.is_empty() {
            let own = admit(&whole(cluster, std::iter::empty()));
            // What is told of no field says only that there may be more.
            refusals.retain(|refusal| !own.contains(refusal) && refusal.field != NOWHERE);
        }
        for refusal in &refusals {
            let causes = self.causes(cluster, refusal, admit);
            self.wrong.push(self.complaint(&causes, &refusal.field, &refusal.why));
        }
        if refusals.is_empty() {
            self.parse(cluster);
        }
    }

    /// What is wrong with a field of the spec, `field: why`, by the paths that ask for it; `None` if none does.
    pub fn blame(&self, wrong: &str) -> Option<String> {
        let end = wrong.find([':', ' ', '[']).unwrap_or(wrong.len());
        let (field, why) = wrong.split_at(end);
        let causes: Vec<_> = self.wishes.iter().filter(|wish| wish.touches(field)).collect();
        let why = why.trim_start_matches([':', ' ']);
        (!causes.is_empty()).then(|| self.complaint(&causes, &format!("spec.{field}"), why))
    }

    /// What is asked for as this field of the spec.
    pub fn value(&self, field: &str) -> Option<&Value> {
        let wish = self.wishes.iter().rfind(|wish| wish.field.join(".") == field)?;
        wish.field.iter().try_fold(&wish.spec, |value, part| value.get(part))
    }

    /// The paths that a refusal is about: those of its field; of several, those without which it would not be.
    fn causes(
        &self,
        cluster: &VirtualCluster,
        refusal: &Refusal,
        admit: fn(&Value) -> Vec<Refusal>,
    ) -> Vec<&Wish> {
        let field = refusal.field.strip_prefix("spec").unwrap_or(&refusal.field);
        let near: Vec<_> = self.wishes.iter().filter(|wish| wish.touches(field)).collect();
        if near.len() < 2 {
            return near;
        }
        let is_needed = |wish: &&Wish| {
            let others = self.wishes.iter().filter(|other| other.path != wish.path);
            !admit(&whole(cluster, others)).contains(refusal)
        };
        let needed: Vec<_> = near.iter().copied().filter(|wish| is_needed(wish)).collect();
        if needed.is_empty() { near } else { needed }
    }

    fn complaint(&self, causes: &[&Wish], field: &str, why: &str) -> String {
        let mut paths: Vec<_> = causes.iter().map(|wish| wish.path.as_str()).collect();
        paths.dedup();
        match paths.join(", ") {
            paths if self.is_discreet => format!("{paths}: is not what {field} takes"),
            paths => format!("{paths}: {field}: {why}"),
        }
    }

    /// Tells of values that are not of their type, which the CRD knows too, and of what is in them that no field takes.
    fn parse(&mut self, cluster: &VirtualCluster) {
        let read = |spec: &Value| serde_json::from_value::<VirtualClusterSpec>(spec.clone());
        if let Err(error) = read(&whole(cluster, self.wishes.iter())["spec"]) {
            let error = error.to_string();
            let is_it = |wish: &&Wish| read(&wish.spec).is_err_and(|other| other.to_string() == error);
            let path = self.wishes.iter().find(is_it).map_or("the whole", |wish| wish.path.as_str());
            let why = if self.is_discreet { "has not the right type" } else { &error };
            self.wrong.push(format!("{path}: {why}"));
            return;
        }
        for wish in &self.wishes {
            // Alone it may lack what others say.
            let Ok(spec) = read(&wish.spec) else { continue };
            let taken = serde_json::to_value(spec).unwrap_or_default();
            lost(&wish.spec, &taken, wish.field.len(), &wish.path, &mut self.unknown);
        }
    }
}

/// Where an API server tells of what concerns no field.
const NOWHERE: &str = "<nil>";

impl Wish {
    /// Whether the field is this one, in it or around it. Keys of maps are in brackets or not, as it likes who tells.
    fn touches(&self, field: &str) -> bool {
        let plain = |text: &str| text.replace('[', ".").replace(']', "");
        let (own, field) = (format!(".{}.", self.field.join(".")), plain(field));
        let field = format!(".{}.", field.trim_matches('.')).replace("..", ".");
        own.starts_with(&field) || field.starts_with(&own)
    }
}

/// The cluster as it would be if its spec said all of this, as far as it does not say otherwise.
fn whole<'a>(cluster: &VirtualCluster, wishes: impl Iterator<Item = &'a Wish>) -> Value {
    let mut spec = json!({});
    for wish in wishes {
        overlay(&mut spec, &wish.spec);
    }
    // A spec that was read can be written.
    overlay(&mut spec, &serde_json::to_value(&cluster.spec).unwrap_or_default());
    let metadata = json!({"name": cluster.metadata.name, "namespace": cluster.metadata.namespace});
    let (version, kind) = (VirtualCluster::api_version(&()), VirtualCluster::kind(&()));
    json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec})
}

/// The keys that were not taken, below the first `depth`, which lead to the field.
fn lost(said: &Value, taken: &Value, depth: usize, path: &str, found: &mut Vec<String>) {
    match (said, taken) {
        (Value::Object(said), Value::Object(taken)) => {
            for (key, value) in said.iter().filter(|(_, value)| !asks_nothing(value)) {
                let path = if depth == 0 { format!("{path}.{key}") } else { path.to_owned() };
                match taken.get(key) {
                    Some(taken) => lost(value, taken, depth.saturating_sub(1), &path, found),
                    None => found.push(path),
                }
            }
        }
        (Value::Array(said), Value::Array(taken)) => {
            for (index, (said, taken)) in said.iter().zip(taken).enumerate() {
                lost(said, taken, depth, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}
