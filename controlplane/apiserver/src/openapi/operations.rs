//! Paths and their operations.

use serde_json::{Map, Value, json};

use super::{
    Flavor, META, Served, ServedSubresource, builtin_definition,
    parameters::{self, Operation},
};

pub const MEDIA_TYPES: &[&str] =
    &["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
const STREAM_TYPES: &[&str] =
    &["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// Built-in resources whose deletion answers with the object instead of a `Status`.
const ANSWER_DELETED: &[&str] = &[
    "Pod",
    "Service",
    "ServiceAccount",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "PodTemplate",
    "ResourceQuota",
    "CSIDriver",
    "CSINode",
    "StorageClass",
    "VolumeAttachment",
];

/// A path and what can be done with it.
pub type PathItem = (String, Value);

/// One operation, before it takes the form of a flavor.
struct Call<'a> {
    method: &'static str,
    operation: Option<Operation>,
    id: String,
    action: &'static str,
    /// Group, version and kind.
    kind: (&'a str, &'a str, &'a str),
    body: Option<String>,
    answers: &'static [u16],
    answer: Option<String>,
    streams: bool,
}

/// The paths of a resource.
pub fn paths(served: &Served<'_>, flavor: Flavor) -> Vec<PathItem> {
    Paths { served, flavor, found: Vec::new() }.all()
}

struct Paths<'a> {
    served: &'a Served<'a>,
    flavor: Flavor,
    found: Vec<PathItem>,
}

impl<'a> Paths<'a> {
    fn all(mut self) -> Vec<PathItem> {
        let served = self.served;
        let root = root(served.group, served.version);
        let scope = if served.namespaced { "/namespaces/{namespace}" } else { "" };
        let plural = served.plural;
        let one = format!("{root}{scope}/{plural}/{{name}}");

        self.collection(&format!("{root}{scope}/{plural}"));
        self.object(&one);
        if served.namespaced && served.has("list") {
            let id = format!("list{}{}ForAllNamespaces", self.group_id(), served.kind);
            let call = self.list(id, "list", served.list_definition());
            self.add_shared_list(format!("{root}/{plural}"), call);
        }
        if served.has("watch") && !served.is_custom() {
            self.watches(&root, scope);
        }
        for subresource in &served.subresources {
            self.subresource(&one, subresource);
        }
        self.found
    }

    fn collection(&mut self, path: &str) {
        let (served, definition) = (self.served, self.served.definition());
        let kind = self.kind();
        let mut calls = Vec::new();
        if served.has("list") {
            calls.push(self.list(self.id("list", ""), "list", served.list_definition()));
        }
        if served.has("create") {
            calls.push(Call {
                method: "post",
                operation: Some(Operation::Create),
                id: self.id("create", ""),
                action: "post",
                kind,
                body: Some(definition.clone()),
                answers: &[200, 201, 202],
                answer: Some(definition),
                streams: false,
            });
        }
        if served.has("deletecollection") {
            let mut id = self.id("delete", "");
            id.insert_str("delete".len() + self.group_id().len(), "Collection");
            calls.push(Call {
                method: "delete",
                operation: Some(Operation::DeleteMany),
                id,
                action: "deletecollection",
                kind,
                body: Some(format!("{META}DeleteOptions")),
                answers: &[200],
                answer: Some(format!("{META}Status")),
                streams: false,
            });
        }
        self.add(path.to_owned(), calls, false);
    }

    fn object(&mut self, path: &str) {
        let (served, definition) = (self.served, self.served.definition());
        let mut calls = self.read_and_write("", served.verbs, self.kind(), &definition);
        if served.has("delete") {
            let returns = !served.is_custom() && ANSWER_DELETED.contains(&served.kind);
            calls.push(Call {
                method: "delete",
                operation: Some(Operation::Delete),
                id: self.id("delete", ""),
                action: "delete",
                kind: self.kind(),
                body: Some(format!("{META}DeleteOptions")),
                answers: &[200, 202],
                answer: Some(if returns { definition } else { format!("{META}Status") }),
                streams: false,
            });
        }
        self.add(path.to_owned(), calls, false);
    }

    /// Get, put and patch of an object or one of its subresources.
    fn read_and_write(
        &self,
        suffix: &str,
        verbs: &[&str],
        kind: (&'a str, &'a str, &'a str),
        definition: &str,
    ) -> Vec<Call<'a>> {
        let call = |method, operation, verb, action, body: Option<&str>, answers| Call {
            method,
            operation: Some(operation),
            id: self.id(verb, suffix),
            action,
            kind,
            body: body.map(str::to_owned),
            answers,
            answer: Some(definition.to_owned()),
            streams: false,
        };
        let patch = format!("{META}Patch");
        let mut calls = Vec::new();
        if verbs.contains(&"get") {
            calls.push(call("get", Operation::Get, "read", "get", None, &[200]));
        }
        if verbs.contains(&"update") {
            calls.push(call("put", Operation::Replace, "replace", "put", Some(definition), &[200, 201]));
        }
        if verbs.contains(&"patch") {
            calls.push(call("patch", Operation::Patch, "patch", "patch", Some(&patch), &[200, 201]));
        }
        calls
    }

    fn subresource(&mut self, object: &str, subresource: &'a ServedSubresource<'a>) {
        let path = format!("{object}/{}", subresource.name);
        let kind = (subresource.group, subresource.version, subresource.kind);
        let suffix = capital(subresource.name);
        let definition = if subresource.kind == self.served.kind {
            Some(self.served.definition())
        } else {
            builtin_definition(subresource.group, subresource.version, subresource.kind).map(str::to_owned)
        };
        let Some(definition) = definition else {
            self.stream(&path, subresource, kind, &suffix);
            return;
        };
        if subresource.name == "log" {
            let call = Self::text_call("get", self.id("read", &suffix), "get", self.kind());
            self.add(path, vec![call], false);
            return;
        }
        let mut calls = self.read_and_write(&suffix, subresource.verbs, kind, &definition);
        if subresource.verbs.contains(&"create") {
            calls.push(Call {
                method: "post",
                operation: Some(Operation::Create),
                id: self.id("create", &suffix),
                action: "post",
                kind,
                body: Some(definition.clone()),
                answers: &[200, 201, 202],
                answer: Some(definition),
                streams: false,
            });
        }
        self.add(path, calls, false);
    }

    /// A subresource that connects to something else.
    fn stream(
        &mut self,
        path: &str,
        subresource: &'a ServedSubresource<'a>,
        kind: (&'a str, &'a str, &'a str),
        suffix: &str,
    ) {
        const METHODS: &[(&str, &str, &str)] = &[
            ("get", "get", "connectGet"),
            ("create", "post", "connectPost"),
            ("update", "put", "connectPut"),
            ("patch", "patch", "connectPatch"),
            ("delete", "delete", "connectDelete"),
        ];
        let mut calls = Vec::new();
        for (verb, method, name) in METHODS {
            if subresource.verbs.contains(verb) {
                let mut id = self.id("connect", suffix);
                id.insert_str("connect".len() + self.group_id().len(), &name["connect".len()..]);
                calls.push(Self::text_call(method, id, "connect", kind));
            }
        }
        self.add(path.to_owned(), calls, false);
    }

    fn text_call(
        method: &'static str,
        id: String,
        action: &'static str,
        kind: (&'a str, &'a str, &'a str),
    ) -> Call<'a> {
        Call {
            method,
            operation: None,
            id,
            action,
            kind,
            body: None,
            answers: &[200],
            answer: None,
            streams: false,
        }
    }

    /// The paths of old for watching, besides the parameter.
    fn watches(&mut self, root: &str, scope: &str) {
        let (plural, kind) = (self.served.plural, self.served.kind);
        let answer = format!("{META}WatchEvent");
        let group = self.group_id();
        let call = self.list(self.id("watch", "List"), "watchlist", answer.clone());
        self.add_shared_list(format!("{root}/watch{scope}/{plural}"), call);
        if self.served.namespaced {
            let id = format!("watch{group}{kind}ListForAllNamespaces");
            let call = self.list(id, "watchlist", answer.clone());
            self.add_shared_list(format!("{root}/watch/{plural}"), call);
        }
        if self.served.has("get") {
            let call = self.list(self.id("watch", ""), "watch", answer);
            self.add_shared_list(format!("{root}/watch{scope}/{plural}/{{name}}"), call);
        }
    }

    fn list(&self, id: String, action: &'static str, answer: String) -> Call<'a> {
        Call {
            method: "get",
            operation: Some(Operation::List),
            id,
            action,
            kind: self.kind(),
            body: None,
            answers: &[200],
            answer: Some(answer),
            streams: !self.served.is_custom(),
        }
    }

    /// A path with nothing but a list, whose parameters are then the path's.
    fn add_shared_list(&mut self, path: String, mut call: Call<'a>) {
        call.operation = None;
        self.add(path, vec![call], true);
    }

    fn add(&mut self, path: String, calls: Vec<Call<'a>>, list: bool) {
        if calls.is_empty() {
            return;
        }
        let mut item = Map::new();
        for call in calls {
            item.insert(call.method.into(), self.operation(&call));
        }
        item.insert("parameters".into(), parameters::path(&path, list, self.flavor).into());
        self.found.push((path, Value::Object(item)));
    }

    fn operation(&self, call: &Call<'_>) -> Value {
        let flavor = self.flavor;
        let mut shown = json!({
            "tags": [tag(self.served.group, self.served.version)],
            "operationId": call.id,
            "x-kubernetes-action": call.action,
            "x-kubernetes-group-version-kind":
                {"group": call.kind.0, "version": call.kind.1, "kind": call.kind.2},
        });
        let parameters = call.operation.map_or_else(Vec::new, |operation| {
            parameters::operation(operation, call.body.as_deref(), flavor)
        });
        if !parameters.is_empty() {
            shown["parameters"] = parameters.into();
        }

        let text_types: &[&str] = &["*/*"];
        let media_types: Vec<&str> = match &call.answer {
            Some(_) if self.served.is_custom() => MEDIA_TYPES[..2].to_vec(),
            Some(_) if call.streams => MEDIA_TYPES.iter().chain(STREAM_TYPES).copied().collect(),
            Some(_) => MEDIA_TYPES.to_vec(),
            None => text_types.to_vec(),
        };
        let schema =
            call.answer.as_deref().map_or_else(|| json!({"type": "string"}), |d| flavor.reference(d));
        let takes: Vec<&str> = match call.operation {
            Some(Operation::Patch) if self.served.is_custom() => {
                PATCH_TYPES.iter().copied().filter(|t| !t.contains("strategic")).collect()
            }
            Some(Operation::Patch) => PATCH_TYPES.to_vec(),
            _ => vec!["*/*"],
        };
        match flavor {
            Flavor::V2 => {
                shown["schemes"] = json!(["https"]);
                shown["consumes"] = takes.into();
                shown["produces"] = media_types.into();
                shown["responses"] = responses(call.answers, &json!({"schema": schema}));
            }
            Flavor::V3 => {
                let content: Map<String, Value> =
                    media_types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect();
                shown["responses"] = responses(call.answers, &json!({"content": content}));
                if let Some(body) = &call.body {
                    let body = json!({"schema": flavor.reference(body)});
                    let content: Map<String, Value> =
                        takes.iter().map(|t| ((*t).to_owned(), body.clone())).collect();
                    shown["requestBody"] = json!({"content": content});
                    if !matches!(call.operation, Some(Operation::Delete | Operation::DeleteMany)) {
                        shown["requestBody"]["required"] = true.into();
                    }
                }
            }
        }
        shown
    }

    fn kind(&self) -> (&'a str, &'a str, &'a str) {
        (self.served.group, self.served.version, self.served.kind)
    }

    fn group_id(&self) -> String {
        format!("{}{}", capital(&short_group(self.served.group)), capital(self.served.version))
    }

    /// Such as `replaceAppsV1NamespacedDeploymentScale`.
    fn id(&self, verb: &str, suffix: &str) -> String {
        let namespaced = if self.served.namespaced { "Namespaced" } else { "" };
        format!("{verb}{}{namespaced}{}{suffix}", self.group_id(), self.served.kind)
    }
}

fn responses(codes: &[u16], answer: &Value) -> Value {
    let mut responses = Map::new();
    for code in codes {
        let mut answer = answer.clone();
        answer["description"] = match code {
            201 => "Created",
            202 => "Accepted",
            _ => "OK",
        }
        .into();
        responses.insert(code.to_string(), answer);
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    Value::Object(responses)
}

/// A path that answers with one document and takes nothing.
#[derive(Clone, Copy)]
pub struct Plain<'p> {
    pub path: &'p str,
    pub tag: &'p str,
    pub id: &'p str,
    /// The definition that it answers with, if not text.
    pub answer: Option<&'p str>,
    pub types: &'p [&'p str],
}

impl Plain<'_> {
    pub fn item(&self, flavor: Flavor) -> PathItem {
        let schema = self.answer.map_or_else(|| json!({"type": "string"}), |name| flavor.reference(name));
        let mut shown = json!({"tags": [self.tag], "operationId": self.id});
        match flavor {
            Flavor::V2 => {
                shown["schemes"] = json!(["https"]);
                if self.answer.is_some() {
                    shown["consumes"] = self.types.into();
                }
                shown["produces"] = self.types.into();
                shown["responses"] = responses(&[200], &json!({"schema": schema}));
            }
            Flavor::V3 => {
                let content: Map<String, Value> =
                    self.types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect();
                shown["responses"] = responses(&[200], &json!({"content": content}));
            }
        }
        (self.path.to_owned(), json!({"get": shown}))
    }
}

/// `/api/v1` or `/apis/<group>/<version>`.
pub fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// `rbacAuthorization_v1` for `rbac.authorization.k8s.io/v1`.
pub fn tag(group: &str, version: &str) -> String {
    let group = short_group(group);
    if version.is_empty() { group } else { format!("{group}_{version}") }
}

/// The identifier of a discovery document, such as `getAppsV1APIResources`.
pub fn discovery_id(group: &str, version: &str, what: &str) -> String {
    format!("get{}{}{what}", capital(&short_group(group)), capital(version))
}

/// `rbacAuthorization` for `rbac.authorization.k8s.io`.
fn short_group(group: &str) -> String {
    if group.is_empty() {
        return "core".into();
    }
    let mut words = group.trim_end_matches(".k8s.io").split('.');
    let mut name = words.next().unwrap_or_default().to_owned();
    words.for_each(|word| name.push_str(&capital(word)));
    name
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}
