//! Role-based access control
//! (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>), and the reviews that ask about it.

pub mod authorizer;
pub mod bootstrap_policy;
pub mod rules;

use serde_json::{Value, json};

use crate::{
    authorization::{self, Attributes, Decision},
    handlers::call::Call,
    metadata,
    status::ApiError,
    user::User,
};

/// Answers a SubjectAccessReview or one of its siblings.
pub fn review_access(call: &Call, review: &mut Value) -> Result<(), ApiError> {
    let user = reviewed_user(call, review);
    let text = |pointer: &str| review.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let resource = review.pointer("/spec/resourceAttributes").is_some_and(Value::is_object);
    if call.definition.plural() == "localsubjectaccessreviews"
        && text("/spec/resourceAttributes/namespace") != call.namespace()
    {
        return Err(ApiError::bad_request("spec.resourceAttributes.namespace must match metadata.namespace"));
    }
    let at = |field: &str| {
        let pointer = format!("/spec/resourceAttributes/{field}");
        review.pointer(&pointer).and_then(Value::as_str).unwrap_or_default()
    };
    let attributes = if resource {
        Attributes {
            user: &user,
            verb: at("verb"),
            is_resource: true,
            group: at("group"),
            version: at("version"),
            resource: at("resource"),
            subresource: at("subresource"),
            namespace: at("namespace"),
            name: at("name"),
            path: "",
        }
    } else {
        Attributes {
            user: &user,
            verb: text("/spec/nonResourceAttributes/verb"),
            is_resource: false,
            group: "",
            version: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path: text("/spec/nonResourceAttributes/path"),
        }
    };
    let status = match authorization::decide(&call.server.parts.authorizers, &attributes) {
        Decision::Allow(reason) => with_reason(json!({"allowed": true}), &reason),
        Decision::Deny(reason) => with_reason(json!({"allowed": false, "denied": true}), &reason),
        Decision::NoOpinion(reason) => with_reason(json!({"allowed": false}), &reason),
    };
    review["status"] = status;
    Ok(())
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
        extra: std::collections::BTreeMap::new(),
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
    metadata::remove(review, "name");
    review["spec"] = json!({});
    review["status"] = json!({"resourceRules": resources, "nonResourceRules": others, "incomplete": false});
    Ok(())
}
