//! Reviews: what may this user do?

use serde_json::{Value, json};

use super::rules::Rule;
use crate::{
    authorization::{self, Attributes, Decision},
    field::{Errors, Path, Reason},
    handlers::call::Call,
    registry::{
        access::{at, entries, list_at, str_at, strs_at},
        internal,
    },
    schema::{self, types::Type},
    selectors::{fields::FieldSelector, labels::LabelSelector},
    status::{ApiError, GroupResource},
    user::User,
    validation::labels,
};

/// Answers a SubjectAccessReview or one of its siblings.
pub async fn review_access(call: &Call, review: &mut Value) -> Result<(), ApiError> {
    validate(call, review)?;
    let user = reviewed_user(call, review);
    let text = |pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let resource = review.pointer("/spec/resourceAttributes").is_some_and(Value::is_object);
    let of = |field: &str| {
        let pointer = format!("/spec/resourceAttributes/{field}");
        review.pointer(&pointer).and_then(Value::as_str).unwrap_or_default()
    };
    let field_selector = field_selector(review);
    let attributes = if resource {
        Attributes {
            user: &user,
            verb: of("verb"),
            is_resource: true,
            group: of("group"),
            version: of("version"),
            resource: of("resource"),
            subresource: of("subresource"),
            namespace: of("namespace"),
            name: of("name"),
            path: "",
            field_selector: &field_selector,
        }
    } else {
        let [verb, path] = ["/spec/nonResourceAttributes/verb", "/spec/nonResourceAttributes/path"].map(text);
        Attributes::path(&user, verb, path)
    };
    let mut status = match authorization::decide(&call.server.parts.authorizers, &attributes).await {
        Decision::Allow(reason) => with_reason(json!({"allowed": true}), &reason),
        Decision::Deny(reason) => with_reason(json!({"allowed": false, "denied": true}), &reason),
        Decision::NoOpinion(reason) => with_reason(json!({"allowed": false}), &reason),
        Decision::Failed(why) => json!({"allowed": false, "evaluationError": why}),
    };
    let failed = status.get("evaluationError").and_then(Value::as_str).map(str::to_owned);
    let faults: Vec<String> = failed.into_iter().chain(unread_selectors(review)).collect();
    if !faults.is_empty() {
        status["evaluationError"] = faults.join("; ").into();
    }
    review["status"] = status;
    Ok(())
}

/// The field selector of a review, as a request would say it.
fn field_selector(review: &Value) -> String {
    let selector = at(review, "/spec/resourceAttributes/fieldSelector");
    let exact = list_at(selector, "/requirements").iter().filter_map(|requirement| {
        let values = list_at(requirement, "/values");
        let is_exact = str_at(requirement, "/operator") == "In" && values.len() == 1;
        is_exact
            .then(|| format!("{}={}", str_at(requirement, "/key"), values[0].as_str().unwrap_or_default()))
    });
    let raw = Some(str_at(selector, "/rawSelector").to_owned()).filter(|raw| !raw.is_empty());
    raw.into_iter().chain(exact).collect::<Vec<_>>().join(",")
}

/// What is said of selectors that cannot be read, in whole or in part: what cannot is not taken into account.
fn unread_selectors(review: &Value) -> impl Iterator<Item = String> {
    ["fieldSelector", "labelSelector"].into_iter().filter_map(|field| {
        let selector = at(review, &format!("/spec/resourceAttributes/{field}"));
        let (raw, requirements) = (str_at(selector, "/rawSelector"), list_at(selector, "/requirements"));
        let of_labels = field == "labelSelector";
        let is_read = |requirement: &Value| match str_at(requirement, "/operator") {
            "In" | "NotIn" => of_labels || list_at(requirement, "/values").len() == 1,
            "Exists" | "DoesNotExist" => of_labels,
            _ => false,
        };
        let read = requirements.iter().filter(|requirement| is_read(requirement)).count();
        let is_whole = read == requirements.len()
            && if of_labels { LabelSelector::parse(raw).is_ok() } else { FieldSelector::is_one(raw) };
        let partially = if read > 0 { "partially " } else { "" };
        (!is_whole).then(|| format!("spec.resourceAttributes.{field} {partially}ignored due to parse error"))
    })
}

fn with_reason(mut status: Value, reason: &str) -> Value {
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn reviewed_user(call: &Call, review: &Value) -> User {
    if call.definition.plural() == "selfsubjectaccessreviews" {
        return User::clone(&call.user);
    }
    let text = |pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let groups = review.pointer("/spec/groups").and_then(Value::as_array);
    User {
        name: text("/spec/user"),
        uid: text("/spec/uid"),
        groups: groups.into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect(),
        extra: entries(review, "/spec/extra")
            .map(|(key, values)| (key.clone(), strs_at(values, "").map(Into::into).collect()))
            .collect(),
    }
}

/// Answers a SelfSubjectRulesReview.
pub fn review_rules(call: &Call, review: &mut Value) -> Result<(), ApiError> {
    let namespace = review.pointer("/spec/namespace").and_then(Value::as_str).unwrap_or_default();
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let masters = call.user.in_group(crate::user::MASTERS);
    let (mut resources, mut others) = (Vec::new(), Vec::new());
    if masters {
        resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        others.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    } else if let Some(rbac) = &call.server.parts.rbac {
        for granted in rbac.rules(&call.user, namespace) {
            if granted.rule.non_resource_urls.is_empty() {
                resources.push(granted.rule.to_value());
            } else if !granted.namespaced {
                others.push(granted.rule.to_value());
            }
        }
    }
    // Like for like, in the order of their short forms.
    let shown = |rule: &Value| Rule::parse(rule).to_string();
    resources.sort_by_cached_key(shown);
    others.sort_by_cached_key(shown);
    review["metadata"] = json!({});
    review["spec"] = json!({});
    review["status"] = json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false});
    Ok(())
}

/// Everything wrong with a review of access. Its error names no kind, as that of kube-apiserver.
fn validate(call: &Call, review: &Value) -> Result<(), ApiError> {
    let plural = call.definition.plural();
    let mut errors = Errors::default();
    let spec = Path::new("spec");
    let (resource, path) =
        (at(review, "/spec/resourceAttributes"), at(review, "/spec/nonResourceAttributes"));
    match (resource.is_object(), path.is_object()) {
        (true, true) => {
            let why = "cannot be specified in combination with resourceAttributes";
            let field = spec.child("nonResourceAttributes");
            internal::invalid(&mut errors, &field, "NonResourceAttributes", path, why);
        }
        (false, false) => errors.invalid(
            &spec.child("resourceAttributes"),
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        _ => {}
    }
    if plural != "selfsubjectaccessreviews"
        && str_at(review, "/spec/user").is_empty()
        && list_at(review, "/spec/groups").is_empty()
    {
        errors.invalid_str(&spec.child("user"), "", "at least one of user or group must be specified");
    }
    let attributes = spec.child("resourceAttributes");
    for field in ["fieldSelector", "labelSelector"] {
        let selector = at(resource, &format!("/{field}"));
        if !selector.is_object() {
            continue;
        }
        let path = attributes.child(field);
        let raw = str_at(selector, "/rawSelector");
        match (raw.is_empty(), list_at(selector, "/requirements").is_empty()) {
            (false, false) => errors.invalid_str(
                &path.child("rawSelector"),
                raw,
                "may not specified at the same time as requirements",
            ),
            (true, true) => errors.required(
                &path.child("requirements"),
                &format!("when {path} is specified, requirements or rawSelector is required"),
            ),
            _ => {}
        }
        let path = path.child("requirements");
        for (index, requirement) in list_at(selector, "/requirements").iter().enumerate() {
            let path = path.index(index);
            // An operator that is not known is for authorizers to judge.
            if field == "labelSelector" {
                labels::has_known_operator(&mut errors, &path, requirement);
                labels::key_and_values(&mut errors, &path, requirement);
            } else {
                if str_at(requirement, "/key").is_empty() {
                    errors.required(&path.child("key"), "must be specified");
                }
                labels::has_known_operator(&mut errors, &path, requirement);
            }
        }
    }
    let mut own = at(review, "/metadata").clone();
    if let Some(own) = own.as_object_mut() {
        own.remove("managedFields");
        if plural == "localsubjectaccessreviews" {
            own.remove("namespace");
        }
    }
    if own.as_object().is_some_and(|own| !own.is_empty()) {
        let mut shown = Vec::new();
        let ty = Type::builtin("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
        schema::json::write(at(review, "/metadata"), ty, &mut shown);
        let shown = String::from_utf8_lossy(&shown);
        let detail = format!("Invalid value: {shown}: must be empty");
        errors.push(&Path::new("metadata"), Reason::Invalid, detail);
    }
    if plural == "localsubjectaccessreviews" {
        let namespace = str_at(resource, "/namespace");
        if resource.is_object() && namespace != call.namespace() {
            errors.invalid_str(&attributes.child("namespace"), namespace, "must match metadata.namespace");
        }
        if path.is_object() {
            let path = spec.child("nonResourceAttributes");
            let attributes = at(review, "/spec/nonResourceAttributes");
            let why = "disallowed on this kind of request";
            internal::invalid(&mut errors, &path, "NonResourceAttributes", attributes, why);
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let kind = GroupResource { group: "authorization.k8s.io", resource: "" };
    Err(ApiError::invalid(kind, "", &errors))
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};

    use super::*;
    use crate::custom::tests::Fixture;

    const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

    async fn reviewed(server: &Fixture, selectors: Value) -> (StatusCode, Value) {
        let mut attributes = json!({"verb": "list", "resource": "pods"});
        for (field, selector) in selectors.as_object().unwrap() {
            attributes[field] = selector.clone();
        }
        let review = json!({"spec": {"resourceAttributes": attributes}});
        server.call(Method::POST, REVIEWS, &review).await
    }

    #[tokio::test]
    async fn a_review_says_which_selectors_it_could_not_read() {
        let server = Fixture::start().await;
        let known = json!({"key": "a", "operator": "In", "values": ["b"]});
        let strange = json!({"key": "a", "operator": "Like"});
        for (selectors, said) in [
            (json!({"labelSelector": {"rawSelector": "a=b"}}), Value::Null),
            (
                json!({"labelSelector": {"rawSelector": "a in ("}, "fieldSelector": {"rawSelector": "a"}}),
                "spec.resourceAttributes.fieldSelector ignored due to parse error; \
                 spec.resourceAttributes.labelSelector ignored due to parse error"
                    .into(),
            ),
            (
                json!({"labelSelector": {"requirements": [known, strange]}}),
                "spec.resourceAttributes.labelSelector partially ignored due to parse error".into(),
            ),
            (
                json!({"fieldSelector": {"requirements": [{"key": "a", "operator": "Exists"}]}}),
                "spec.resourceAttributes.fieldSelector ignored due to parse error".into(),
            ),
        ] {
            let (status, body) = reviewed(&server, selectors).await;
            assert_eq!(status, StatusCode::CREATED, "{body}");
            assert_eq!(body["status"]["evaluationError"], said, "{body}");
        }
        server.0.stop().await;
    }

    #[tokio::test]
    async fn requirements_have_keys_and_the_values_that_their_operators_want() {
        let server = Fixture::start().await;
        let requirements = json!([{"key": "a", "operator": "In"}, {"operator": "Exists", "values": ["x"]}]);
        let (status, body) =
            reviewed(&server, json!({"fieldSelector": {"requirements": requirements}})).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        let fields: Vec<_> = body["details"]["causes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|c| c["field"].as_str().unwrap())
            .collect();
        let path = "spec.resourceAttributes.fieldSelector.requirements";
        assert_eq!(fields, ["[0].values", "[1].key", "[1].values"].map(|end| format!("{path}{end}")));
        server.0.stop().await;
    }
}
