//! FlowSchemas: which requests make a flow
//! (<https://kubernetes.io/docs/concepts/cluster-administration/flow-control/#flowschema>).

use http::HeaderValue;
use serde_json::Value;

use crate::{
    metadata,
    registry::access::{int_at, list_at, str_at},
    request_info::RequestInfo,
    user::User,
};

/// What tells the flows of a schema apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

/// A FlowSchema.
#[derive(Debug)]
pub struct Schema {
    /// Its name.
    pub name: String,
    /// Its uid, as answers show it.
    pub uid: HeaderValue,
    /// Which come first.
    pub precedence: i64,
    /// The name of its priority level.
    pub level: String,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

#[derive(Debug)]
struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster_scope: bool,
}

#[derive(Debug)]
struct PathRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

impl Schema {
    /// Reads a valid FlowSchema.
    pub fn parse(object: &Value) -> Self {
        let distinguisher = match str_at(object, "/spec/distinguisherMethod/type") {
            "ByUser" => Distinguisher::User,
            "ByNamespace" => Distinguisher::Namespace,
            _ => Distinguisher::Nothing,
        };
        Self {
            name: metadata::name(object).into(),
            uid: uid(object),
            precedence: int_at(object, "/spec/matchingPrecedence"),
            level: str_at(object, "/spec/priorityLevelConfiguration/name").into(),
            distinguisher,
            rules: list_at(object, "/spec/rules").iter().map(Rule::parse).collect(),
        }
    }

    /// Whether a request belongs to it.
    pub fn matches(&self, user: &User, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| rule.matches(user, info))
    }

    /// What its flow is called among those of the schema.
    pub fn flow<'a>(&self, user: &'a User, info: &'a RequestInfo) -> &'a str {
        match self.distinguisher {
            Distinguisher::Nothing => "",
            Distinguisher::User => &user.name,
            Distinguisher::Namespace => &info.namespace,
        }
    }
}

/// The uid of an object, as answers show it.
pub fn uid(object: &Value) -> HeaderValue {
    HeaderValue::from_str(metadata::text(object, "uid")).unwrap_or(HeaderValue::from_static(""))
}

impl Rule {
    fn parse(rule: &Value) -> Self {
        Self {
            subjects: list_at(rule, "/subjects").iter().filter_map(Subject::parse).collect(),
            resources: list_at(rule, "/resourceRules").iter().map(ResourceRule::parse).collect(),
            paths: list_at(rule, "/nonResourceRules").iter().map(PathRule::parse).collect(),
        }
    }

    fn matches(&self, user: &User, info: &RequestInfo) -> bool {
        if !self.subjects.iter().any(|subject| subject.is(user)) {
            return false;
        }
        if info.is_resource {
            self.resources.iter().any(|rule| rule.matches(info))
        } else {
            self.paths.iter().any(|rule| rule.matches(info))
        }
    }
}

impl Subject {
    fn parse(subject: &Value) -> Option<Self> {
        let text = |path| str_at(subject, path).to_owned();
        Some(match str_at(subject, "/kind") {
            "User" => Self::User(text("/user/name")),
            "Group" => Self::Group(text("/group/name")),
            "ServiceAccount" => Self::ServiceAccount {
                namespace: text("/serviceAccount/namespace"),
                name: text("/serviceAccount/name"),
            },
            _ => return None,
        })
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => name == "*" || *name == user.name,
            Self::Group(name) => name == "*" || user.in_group(name),
            Self::ServiceAccount { namespace, name } => {
                let account = user.name.strip_prefix("system:serviceaccount:");
                let account = account.and_then(|account| account.split_once(':'));
                account.is_some_and(|(ns, account)| ns == namespace && (name == "*" || name == account))
            }
        }
    }
}

fn strings(rule: &Value, path: &str) -> Vec<String> {
    list_at(rule, path).iter().filter_map(Value::as_str).map(Into::into).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl ResourceRule {
    fn parse(rule: &Value) -> Self {
        Self {
            verbs: strings(rule, "/verbs"),
            groups: strings(rule, "/apiGroups"),
            resources: strings(rule, "/resources"),
            namespaces: strings(rule, "/namespaces"),
            cluster_scope: rule.get("clusterScope").and_then(Value::as_bool) == Some(true),
        }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        let is_resource = |item: &String| {
            let rest = item.strip_prefix(info.resource.as_str());
            rest.is_some_and(|rest| match rest.strip_prefix('/') {
                Some(part) => part == info.subresource,
                None => rest.is_empty() && info.subresource.is_empty(),
            })
        };
        let resource = self.resources.iter().any(|item| item == "*" || is_resource(item));
        let place = if info.namespace.is_empty() {
            self.cluster_scope
        } else {
            has(&self.namespaces, &info.namespace)
        };
        has(&self.verbs, &info.verb) && resource && has(&self.groups, &info.group) && place
    }
}

impl PathRule {
    fn parse(rule: &Value) -> Self {
        Self { verbs: strings(rule, "/verbs"), paths: strings(rule, "/nonResourceURLs") }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        has(&self.verbs, &info.verb)
            && self.paths.iter().any(|path| {
                // Below a path is everything that follows its slash.
                let below = path.strip_suffix('*').unwrap_or(path).trim_end_matches('/');
                let rest = info.path.strip_prefix(below);
                path == "*" || *path == info.path || rest.is_some_and(|rest| rest.starts_with('/'))
            })
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;

    fn schema(subject: &Value, resources: &Value, paths: &Value) -> Schema {
        Schema::parse(&json!({
            "metadata": {"name": "s", "uid": "u"},
            "spec": {
                "matchingPrecedence": 5,
                "priorityLevelConfiguration": {"name": "l"},
                "distinguisherMethod": {"type": "ByNamespace"},
                "rules": [{"subjects": [subject], "resourceRules": resources, "nonResourceRules": paths}],
            },
        }))
    }

    fn get(path: &str) -> RequestInfo {
        RequestInfo::new(&Method::GET, path, "")
    }

    #[test]
    fn a_schema_goes_by_who_asks_and_for_what() {
        let account =
            json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}});
        let pods = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"], "namespaces": ["a"]}]);
        let schema = schema(&account, &pods, &json!([]));
        let user = User::service_account("kube-system", "x", "");
        assert!(schema.matches(&user, &get("/api/v1/namespaces/a/pods/p")));
        assert!(schema.matches(&user, &get("/api/v1/namespaces/a/pods/p/log")));
        assert!(!schema.matches(&user, &get("/api/v1/namespaces/a/pods/p/status")));
        assert!(!schema.matches(&user, &get("/api/v1/namespaces/b/pods/p")));
        assert!(
            !schema.matches(&User::service_account("kube", "x", ""), &get("/api/v1/namespaces/a/pods/p"))
        );
        assert_eq!(schema.flow(&user, &get("/api/v1/namespaces/a/pods/p")), "a");
    }

    #[test]
    fn what_has_no_namespace_needs_the_cluster_scope() {
        let everyone = json!({"kind": "Group", "group": {"name": "system:authenticated"}});
        let all = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]});
        let user = User::new("u", &[]);
        assert!(!schema(&everyone, &json!([all]), &json!([])).matches(&user, &get("/api/v1/nodes")));
        let mut wide = all;
        wide["clusterScope"] = true.into();
        assert!(schema(&everyone, &json!([wide]), &json!([])).matches(&user, &get("/api/v1/nodes")));
    }

    #[test]
    fn paths_are_meant_with_all_below_them() {
        let user = User::anonymous();
        let everyone = json!({"kind": "User", "user": {"name": "*"}});
        let schema = schema(
            &everyone,
            &json!([]),
            &json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/x/*"]}]),
        );
        assert!(schema.matches(&user, &get("/healthz")));
        assert!(schema.matches(&user, &get("/healthz/etcd")));
        assert!(schema.matches(&user, &get("/x/y")));
        assert!(!schema.matches(&user, &get("/healthzz")));
        assert!(!schema.matches(&user, &get("/api")));
    }
}
