//! What is synchronised by rule: which kinds, which of their objects, and what changes on the way.
//!
//! ```text
//!   RuleSpec (as the settings say it) ──compile──► Rules: ┬ how kinds with code of their own are tuned
//!                                                         └ rules for all other kinds, one engine for all
//! ```
//!
//! A rule names a resource as its definition is named, `plural.group`. Kinds that Kubernetes and its common
//! extensions bring are rows of a [`catalogue`]; every other name is a custom resource, whose definition is read from
//! the host.

pub(crate) mod catalogue;
mod mapping;
pub(crate) mod patch;
pub(crate) mod path;
pub(crate) mod references;
pub(crate) mod selector;

use std::collections::HashMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use self::catalogue::{Known, NAMED_GLOBALLY, Place, Served, Ways, known};
pub(crate) use self::mapping::{Export, Mapping};
pub(crate) use self::patch::Patch;
pub use self::patch::{Evaluated, Expression, Inputs};
use self::path::Path;
use self::references::Reference;
use crate::context::Kind;

/// The way of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The virtual cluster's objects are made on the host.
    ToHost,
    /// The host's objects are shown in the virtual cluster.
    FromHost,
}

/// A rule as the settings say it.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleSpec {
    /// Which way.
    pub direction: Direction,
    /// `plural.group`, as `certificates.cert-manager.io`; for the core group `plural` alone.
    pub resource: String,
    /// The version to use of a custom resource. `None` = the one the host stores.
    pub version: Option<String>,
    /// Whether the kind is synchronised.
    pub enabled: bool,
    /// Whether ConfigMaps or Secrets are synchronised even if nothing refers to them.
    pub all: bool,
    /// Which objects; an empty selector chooses all.
    pub selector: LabelSelector,
    /// From the host, for namespaced kinds: pairs of `namespace/name` there and here. `*` as a name stands for all;
    /// no namespace there stands for that of the virtual cluster. To the host, for services: pairs of `namespace/name`
    /// here and there.
    pub mappings: Vec<(String, String)>,
    /// Changes to an object before it is written.
    pub patches: Vec<PatchSpec>,
}

impl RuleSpec {
    /// A rule about all objects of a resource.
    pub fn new(direction: Direction, resource: impl Into<String>) -> Self {
        Self {
            direction,
            resource: resource.into(),
            version: None,
            enabled: true,
            all: false,
            selector: LabelSelector::default(),
            mappings: Vec::new(),
            patches: Vec::new(),
        }
    }
}

/// A change as the settings say it.
#[derive(Clone, Debug, PartialEq)]
pub struct PatchSpec {
    /// Where, as `spec.rules[*].host`.
    pub path: String,
    /// What.
    pub change: ChangeSpec,
}

/// What changes at a path.
#[derive(Clone, Debug, PartialEq)]
pub enum ChangeSpec {
    /// The value becomes that of an expression.
    Expression(String),
    /// The value is the name of an object of this kind, to be translated.
    Reference(String),
}

/// Turns the text of an expression into one that can be evaluated, or says what is wrong with it.
pub type Compile<'a> = &'a dyn Fn(&str) -> Result<Expression, String>;

/// All rules of a virtual cluster, checked.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    tuned: HashMap<Kind, Tuning>,
    /// Whether the metrics of pods and nodes are shown.
    pub(crate) metrics: bool,
    /// Services that have other names on the host besides.
    pub(crate) exports: Vec<Export>,
    pub(crate) general: Vec<Rule>,
}

/// How a kind with code of its own is synchronised.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    pub enabled: bool,
    pub all: bool,
    pub selector: LabelSelector,
    pub patches: Vec<Patch>,
}

/// A rule for a kind without code of its own.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub direction: Direction,
    pub resource: String,
    /// The row of the catalogue; `None` for a custom resource.
    pub known: Option<&'static Known>,
    pub version: Option<String>,
    pub selector: LabelSelector,
    pub mappings: Vec<Mapping>,
    pub references: Vec<Reference>,
    pub dropped: Vec<Path>,
    pub refused: Vec<Path>,
    pub hidden: Vec<Path>,
    pub patches: Vec<Patch>,
}

pub(crate) const SERVICES: &str = "services";
pub(crate) const ENDPOINTS: &str = "endpoints";
/// How metrics become visible.
const API_SERVICES: &str = "apiservices.apiregistration.k8s.io";

/// Kinds that pods cannot do without.
const ALWAYS: [Kind; 5] =
    [Kind::Pod, Kind::Service, Kind::PersistentVolumeClaim, Kind::ConfigMap, Kind::Secret];

impl Rules {
    /// Checks rules; the error lists everything that is wrong, as `resource: why`.
    pub fn compile(specs: &[RuleSpec], compile: Compile<'_>) -> Result<Self, Vec<String>> {
        let mut rules = Self::default();
        let mut wrong = Vec::new();
        for (at, spec) in specs.iter().enumerate() {
            let twin =
                |other: &RuleSpec| (other.direction, &other.resource) == (spec.direction, &spec.resource);
            if specs[..at].iter().any(twin) {
                wrong.push(format!("{}: has two rules", spec.resource));
                continue;
            }
            rules.add(spec, compile, &mut |why| wrong.push(format!("{}: {why}", spec.resource)));
        }
        rules.settle_global_names();
        for spec in specs.iter().filter(|spec| spec.enabled && spec.direction == Direction::FromHost) {
            let back = |rule: &Rule| rule.direction == Direction::ToHost && rule.resource == spec.resource;
            if spec.mappings.is_empty() && rules.general.iter().any(back) {
                wrong.push(format!("{}: cannot go both ways", spec.resource));
            }
        }
        if wrong.is_empty() { Ok(rules) } else { Err(wrong) }
    }

    fn add(&mut self, spec: &RuleSpec, compile: Compile<'_>, wrong: &mut dyn FnMut(String)) {
        let known = known(&spec.resource);
        match (known.map(|known| known.ways), spec.direction) {
            (Some(Ways::ToHost), Direction::FromHost) => return wrong("cannot come from the host".into()),
            (Some(Ways::FromHost), Direction::ToHost) => return wrong("cannot go to the host".into()),
            (None, _) if !spec.resource.contains('.') => {
                return wrong("is not a known resource, and a custom one is written plural.group".into());
            }
            _ => {}
        }
        let (patches, mappings) = (patches(spec, compile, wrong), mappings(spec, wrong));
        let code = known.and_then(Known::code).filter(|_| spec.direction == Direction::ToHost);
        if spec.all && !matches!(code, Some(Kind::ConfigMap | Kind::Secret)) {
            wrong("`all` is for configmaps and secrets on their way to the host".into());
        }
        if let Some(kind) = code {
            if !spec.enabled && ALWAYS.contains(&kind) {
                wrong("pods need it, so it cannot be switched off".into());
            }
            let is_whole = [Kind::Pod, Kind::Service, Kind::PersistentVolumeClaim].contains(&kind);
            if is_whole && spec.selector != LabelSelector::default() {
                wrong("cannot be limited by a selector".into());
            }
            if kind == Kind::Service {
                let read = spec.mappings.iter().map(|(from, to)| Export::parse(from, to));
                self.exports.extend(read.filter_map(|e| e.map_err(|why| wrong(why.to_string())).ok()));
            }
            let (enabled, all, selector) = (spec.enabled, spec.all, spec.selector.clone());
            self.tuned.insert(kind, Tuning { enabled, all, selector, patches });
            return;
        }
        if !spec.enabled {
            return;
        }
        if known.is_some_and(|known| known.served == Served::Measured) {
            self.metrics = true;
            if *spec != RuleSpec::new(spec.direction, &*spec.resource) {
                wrong("is shown as it is: no selector, no mappings, no patches".into());
            }
            return;
        }
        let is_namespaced = known.is_some_and(|known| known.place == Place::Namespaced);
        if is_namespaced && spec.direction == Direction::FromHost && spec.mappings.is_empty() {
            wrong("needs mappings, which say what of the host's namespaces appears where".into());
        }
        if spec.resource == SERVICES {
            // A Service of the host is shown by where it is reached.
            let endpoints = RuleSpec::new(spec.direction, ENDPOINTS);
            self.add_general(&endpoints, catalogue::known(ENDPOINTS), mappings.clone(), Vec::new());
        }
        self.add_general(spec, known, mappings, patches);
    }

    fn add_general(
        &mut self,
        spec: &RuleSpec,
        known: Option<&'static Known>,
        mappings: Vec<Mapping>,
        patches: Vec<Patch>,
    ) {
        let parse = |path: &&str| Path::parse(path).ok();
        let references = known.into_iter().flat_map(|known| known.references).filter_map(|(path, kind)| {
            Some(Reference { path: Path::parse(path).ok()?, kind: (*kind).to_owned() })
        });
        // What tenants name on the way to the host must be refused only there.
        let to_host = spec.direction == Direction::ToHost;
        self.general.push(Rule {
            direction: spec.direction,
            resource: spec.resource.clone(),
            known,
            version: spec.version.clone(),
            selector: spec.selector.clone(),
            mappings,
            references: references.chain(patches.iter().filter_map(Patch::reference).cloned()).collect(),
            dropped: known.map(|known| known.dropped.iter().filter_map(parse).collect()).unwrap_or_default(),
            refused: known
                .filter(|_| to_host)
                .map(|known| known.refused.iter().filter_map(parse).collect())
                .unwrap_or_default(),
            hidden: known
                .filter(|_| !to_host)
                .map(|known| known.hidden.iter().filter_map(parse).collect())
                .unwrap_or_default(),
            patches,
        });
    }

    /// Names of cluster-scoped objects are translated only if those go to the host; what tenants may then name need not
    /// be refused any more.
    fn settle_global_names(&mut self) {
        for (kind, resource) in NAMED_GLOBALLY {
            let goes = self.has(Direction::ToHost, resource);
            for rule in &mut self.general {
                let named: Vec<Path> =
                    rule.references.iter().filter(|r| r.kind == kind).map(|r| r.path.clone()).collect();
                if goes {
                    rule.refused.retain(|path| !named.contains(path));
                } else {
                    rule.references.retain(|reference| reference.kind != kind);
                }
            }
        }
    }

    /// How a kind with code of its own is tuned, if the settings speak of it.
    pub(crate) fn tuning(&self, kind: Kind) -> Option<&Tuning> {
        self.tuned.get(&kind)
    }

    /// Whether objects of a resource go this way by a rule.
    pub(crate) fn has(&self, direction: Direction, resource: &str) -> bool {
        if (direction, resource) == (Direction::FromHost, API_SERVICES) {
            return self.metrics;
        }
        self.general.iter().any(|rule| rule.direction == direction && rule.resource == resource)
    }
}

impl Rule {
    /// Whether the rule limits tenants to what it shows them of `resource`.
    pub(crate) fn limits(&self, resource: &str) -> bool {
        self.direction == Direction::FromHost && self.resource == resource
    }
}

fn patches(spec: &RuleSpec, compile: Compile<'_>, wrong: &mut dyn FnMut(String)) -> Vec<Patch> {
    let mut patches = Vec::new();
    for patch in &spec.patches {
        let path = match Path::parse(&patch.path) {
            Ok(path) => path,
            Err(error) => {
                wrong(error.to_string());
                continue;
            }
        };
        match &patch.change {
            ChangeSpec::Reference(_) if spec.direction == Direction::FromHost => {
                wrong(format!("{}: the host's names cannot be translated", patch.path));
            }
            ChangeSpec::Reference(kind) => {
                patches.push(Patch::Refer(Reference { path, kind: kind.clone() }));
            }
            ChangeSpec::Expression(text) => match compile(text) {
                Ok(expression) => patches.push(Patch::Set { path, text: patch.path.clone(), expression }),
                Err(why) => wrong(format!("{}: {why}", patch.path)),
            },
        }
    }
    patches
}

fn mappings(spec: &RuleSpec, wrong: &mut dyn FnMut(String)) -> Vec<Mapping> {
    if spec.direction == Direction::ToHost {
        if !spec.mappings.is_empty() && spec.resource != SERVICES {
            wrong("mappings are for what comes from the host, and for services that go there".into());
        }
        return Vec::new();
    }
    let read = spec.mappings.iter().map(|(from, to)| Mapping::parse(from, to));
    read.filter_map(|mapping| mapping.map_err(|why| wrong(why.to_string())).ok()).collect()
}

#[cfg(test)]
mod tests;
