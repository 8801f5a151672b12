//! What a VirtualCluster says of synchronisation, as the syncer takes it. Expressions are the API server's.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use vkube_apiserver::cel::{self, Budget, Program, Scope, Type, Variables};
use vkube_crds::{NAMESPACES, NamespaceMap, NodeMode, Sync, SyncPatch, SyncRule, ToHost, VirtualClusterSpec};
use vkube_syncer::{
    ChangeSpec, Direction, DnsOverrides, Expression, MappedNamespaces, NodeSync, PatchSpec, RuleSpec, Rules,
};

/// What an expression may do, in the steps of [`Budget`]; ten times what a long one about a large object takes.
const STEPS: u64 = 1_000_000;

/// What an expression may speak of.
const VARIABLES: [&str; 3] = ["source", "object", "value"];

/// The rules that are asked for, or everything that is wrong with them.
pub fn rules(sync: &Sync) -> Result<Rules, Vec<String>> {
    let mut specs = Vec::new();
    let mut wrong = Vec::new();
    // Namespaces are no objects to copy: they say where the others go.
    for (resource, rule) in sync.to_host.iter().filter(|(resource, _)| *resource != NAMESPACES) {
        if rule.mappings_only.is_some() || !rule.extra_labels.is_empty() {
            wrong.push(format!("{resource}: `mappingsOnly` and `extraLabels` are for namespaces"));
        }
        let all = rule.all.unwrap_or(false);
        specs.push(RuleSpec { all, ..spec(Direction::ToHost, resource, &rule.rule, &mut wrong) });
    }
    for (resource, rule) in &sync.from_host {
        specs.push(spec(Direction::FromHost, resource, rule, &mut wrong));
    }
    match Rules::compile(&specs, &expression) {
        Ok(rules) if wrong.is_empty() => Ok(rules),
        Ok(_) => Err(wrong),
        Err(more) => Err(wrong.into_iter().chain(more).collect()),
    }
}

fn spec(direction: Direction, resource: &str, rule: &SyncRule, wrong: &mut Vec<String>) -> RuleSpec {
    RuleSpec {
        version: rule.version.clone(),
        enabled: rule.enabled.unwrap_or(true),
        selector: rule.selector.clone().unwrap_or_default(),
        mappings: rule.mappings.iter().map(|(from, to)| (from.clone(), to.clone())).collect(),
        patches: patches(resource, &rule.patches, wrong),
        ..RuleSpec::new(direction, resource)
    }
}

/// Which virtual namespaces have namespaces of their own on the host, or everything that is wrong with that.
pub fn namespaces(cluster: &str, sync: &Sync) -> Result<Option<MappedNamespaces>, Vec<String>> {
    let Some(asked) = sync.namespaces() else { return Ok(None) };
    let mut wrong = Vec::new();
    let ToHost { rule, all, mappings_only, extra_labels: _ } = asked;
    if rule.version.is_some() || rule.selector.is_some() || !rule.patches.is_empty() || all.is_some() {
        wrong.push("they are mapped by name: no selector, no patches, no version, no `all`".to_owned());
    }
    if rule.mappings.is_empty() {
        wrong.push("needs mappings".to_owned());
    }
    let map = NamespaceMap::parse(cluster, &rule.mappings).map_err(|more| wrong.extend(more));
    match map {
        Ok(map) if wrong.is_empty() => {
            Ok(Some(MappedNamespaces { map, only: mappings_only.unwrap_or_default() }))
        }
        _ => Err(wrong.into_iter().map(|why| format!("{NAMESPACES}: {why}")).collect()),
    }
}

/// Names that are answered otherwise, or everything that is wrong with them.
pub fn dns(
    names: &BTreeMap<String, String>,
    stubs: &BTreeMap<String, Vec<String>>,
) -> Result<DnsOverrides, Vec<String>> {
    DnsOverrides::parse(names, stubs)
}

/// Everything that is wrong with what a spec asks of synchronisation and names.
pub fn problems(spec: &VirtualClusterSpec) -> Vec<String> {
    let sync = spec.sync.clone().unwrap_or_default();
    let networking = spec.networking.clone().unwrap_or_default();
    let in_dns = dns(&networking.resolve_dns, &networking.forward_dns).err().unwrap_or_default();
    let in_dns = in_dns.into_iter().map(|why| format!("networking: {why}"));
    in_dns.chain(sync_problems(&sync).into_iter().map(|why| format!("sync: {why}"))).collect()
}

fn sync_problems(sync: &Sync) -> Vec<String> {
    let mut problems = rules(sync).err().unwrap_or_default();
    // What the cluster is called decides nothing here.
    problems.extend(namespaces("name", sync).err().into_iter().flatten());
    let nodes = sync.nodes.clone().unwrap_or_default();
    let is_selected = nodes.mode == Some(NodeMode::Selected);
    if nodes.selector.is_some() != is_selected {
        problems.push("nodes: a selector belongs to the mode Selected".into());
    }
    let sees_nodes = matches!(nodes.mode, Some(NodeMode::Selected | NodeMode::All));
    if nodes.scheduler.is_some() && !sees_nodes {
        problems.push("nodes: a scheduler needs the mode Selected or All".into());
    }
    problems.extend(scheduling(sync).err().map(|why| format!("nodes: scheduler: {why}")));
    problems
}

/// What the virtual cluster sees of nodes.
pub fn nodes(sync: &Sync) -> NodeSync {
    let nodes = sync.nodes.clone().unwrap_or_default();
    match nodes.mode.unwrap_or_default() {
        NodeMode::None => NodeSync::None,
        NodeMode::Virtual => NodeSync::Synthetic,
        NodeMode::Used => NodeSync::Used,
        NodeMode::Selected => NodeSync::Selected(nodes.selector.unwrap_or_default()),
        NodeMode::All => NodeSync::Selected(LabelSelector::default()),
    }
}

/// How the virtual cluster schedules its pods, if it does so itself.
pub fn scheduling(sync: &Sync) -> Result<Option<vkube_scheduler::Options>, vkube_scheduler::ProfileError> {
    let scheduler = sync.nodes.as_ref().and_then(|nodes| nodes.scheduler.as_ref());
    let options = |scheduler: &vkube_crds::Scheduler| {
        let profiles = vkube_scheduler::Profile::read_all(&scheduler.profiles)?;
        let volumes = vkube_scheduler::Volumes::Elsewhere;
        Ok(vkube_scheduler::Options { profiles, volumes, ..Default::default() })
    };
    scheduler.map(options).transpose()
}

fn patches(resource: &str, patches: &[SyncPatch], wrong: &mut Vec<String>) -> Vec<PatchSpec> {
    let mut specs = Vec::new();
    for SyncPatch { path, expression, reference } in patches {
        let change = match (expression, reference) {
            (Some(expression), None) => ChangeSpec::Expression(expression.clone()),
            (None, Some(kind)) => ChangeSpec::Reference(kind.clone()),
            _ => {
                wrong.push(format!("{resource}: {path}: a patch has either an expression or a reference"));
                continue;
            }
        };
        specs.push(PatchSpec { path: path.clone(), change });
    }
    specs
}

fn expression(text: &str) -> Result<Expression, String> {
    let program = Program::parse(text).map_err(|error| error.to_string())?;
    let variables = VARIABLES.map(|name| (name, Type::Dyn));
    program
        .check(text, &Scope { variables: &variables, ..Scope::default() })
        .map_err(|issues| issues.to_string())?;
    Ok(Expression::new(move |inputs| {
        let mut variables = Variables::default();
        for (name, document) in VARIABLES.into_iter().zip([inputs.source, inputs.object, inputs.value]) {
            variables.set(name, cel::json::value(document, None));
        }
        let value =
            program.evaluate(&variables, &mut Budget::new(STEPS)).map_err(|error| error.to_string())?;
        cel::json::document(&value).map_err(|error| error.to_string())
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wrong(sync: Value) -> String {
        problems(&serde_json::from_value(json!({ "sync": sync })).unwrap()).join("; ")
    }

    #[test]
    fn what_can_be_carried_out_has_no_problems() {
        let sync = json!({
            "toHost": {
                "ingresses.networking.k8s.io": { "selector": { "matchLabels": { "public": "yes" } } },
                "certificates.cert-manager.io": { "patches": [
                    { "path": "spec.secretName", "reference": "Secret" },
                    { "path": "spec.dnsNames[*]", "expression": "value + '.' + source.metadata.namespace" },
                ] },
            },
            "fromHost": { "secrets": { "mappings": { "shared/pull": "default/pull" } } },
            "nodes": { "mode": "Selected", "selector": { "matchLabels": { "pool": "a" } } },
        });
        assert_eq!(wrong(sync), "");
    }

    #[test]
    fn expressions_are_checked_before_anything_runs() {
        let patch = |patch: Value| wrong(json!({ "toHost": { "a.example.com": { "patches": [patch] } } }));
        assert!(
            patch(json!({ "path": "spec.a", "expression": "value +" })).contains("a.example.com: spec.a")
        );
        assert!(patch(json!({ "path": "spec.a", "expression": "self.x" })).contains("self"));
        assert!(patch(json!({ "path": "spec.a" })).contains("either"));
    }

    #[test]
    fn namespaces_are_mapped_by_name_and_by_nothing_else() {
        let with = |namespaces: Value| wrong(json!({ "toHost": { "namespaces": namespaces } }));
        assert_eq!(with(json!({ "mappings": { "team-*": "${name}-*" }, "mappingsOnly": true })), "");
        assert!(with(json!({})).contains("namespaces: needs mappings"));
        assert!(with(json!({ "mappings": { "team-*": "one" } })).contains("either both sides"));
        let selected = json!({ "mappings": { "a": "b" }, "selector": { "matchLabels": { "a": "b" } } });
        assert!(with(selected).contains("by name"));
        let elsewhere = json!({ "toHost": { "secrets": { "mappingsOnly": true } } });
        assert!(wrong(elsewhere).contains("are for namespaces"));
    }

    #[test]
    fn a_selector_of_nodes_needs_its_mode() {
        assert!(wrong(json!({ "nodes": { "mode": "All", "selector": {} } })).contains("Selected"));
        assert!(wrong(json!({ "nodes": { "mode": "Selected" } })).contains("Selected"));
    }

    #[test]
    fn a_scheduler_needs_nodes_to_choose_from_and_plugins_that_exist() {
        let with = |mode: &str, profiles: Value| {
            wrong(json!({ "nodes": { "mode": mode, "scheduler": { "profiles": profiles } } }))
        };
        assert_eq!(with("All", json!([{ "schedulerName": "packed" }])), "");
        assert!(with("Used", json!([])).contains("Selected or All"));
        let plugins = json!({ "score": { "enabled": [{ "name": "Astrology" }] } });
        assert!(with("All", json!([{ "plugins": plugins }])).contains("Astrology"));
    }
}
