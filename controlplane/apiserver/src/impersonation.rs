//! Acting as another user
//! (<https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>).

use std::{collections::BTreeMap, sync::Arc};

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use crate::{
    authorization::{self, Attributes, Decision},
    server::Server,
    status::ApiError,
    user::{AUTHENTICATED, UNAUTHENTICATED, User},
};

const EXTRA: &str = "impersonate-extra-";

/// The user that the request acts as: the one its `Impersonate-*` headers name, if its own may do so.
pub fn impersonate(server: &Server, headers: &HeaderMap, user: Arc<User>) -> Result<Arc<User>, ApiError> {
    let one = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let name = one("impersonate-user");
    let groups: Vec<&str> =
        headers.get_all("impersonate-group").iter().filter_map(|v| v.to_str().ok()).collect();
    let uid = one("impersonate-uid");
    let extras: Vec<(String, String)> = headers
        .iter()
        .filter_map(|(key, value)| {
            let key = key.as_str().strip_prefix(EXTRA)?;
            let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
            Some((key, value.to_str().ok()?.to_owned()))
        })
        .collect();
    if name.is_empty() {
        if groups.is_empty() && uid.is_empty() && extras.is_empty() {
            return Ok(user);
        }
        return Err(ApiError::bad_request(format!(
            "requested {} without impersonating a user name",
            shown(uid, &groups, &extras)
        )));
    }

    let mut acting = User { name: name.into(), uid: uid.into(), ..User::default() };
    if let Some((namespace, account)) =
        name.strip_prefix("system:serviceaccount:").and_then(|n| n.split_once(':'))
    {
        check(server, &user, "", "serviceaccounts", "", namespace, account)?;
        if groups.is_empty() {
            acting.groups = User::service_account(namespace, account, "").groups;
        }
    } else {
        check(server, &user, "", "users", "", "", name)?;
    }
    for group in &groups {
        check(server, &user, "", "groups", "", "", group)?;
        acting.groups.push((*group).into());
    }
    for (key, value) in extras {
        check(server, &user, "authentication.k8s.io", "userextras", &key, "", &value)?;
        acting.extra.entry(key).or_default().push(value);
    }
    if !uid.is_empty() {
        check(server, &user, "authentication.k8s.io", "uids", "", "", uid)?;
    }
    let anonymous = name == "system:anonymous";
    let implied = if anonymous { UNAUTHENTICATED } else { AUTHENTICATED };
    if !acting.in_group(AUTHENTICATED) && !acting.in_group(UNAUTHENTICATED) {
        acting.groups.push(implied.into());
    }
    Ok(Arc::new(acting))
}

/// A user without a name, as Go prints it.
fn shown(uid: &str, groups: &[&str], extras: &[(String, String)]) -> String {
    let list = |items: &[&str]| {
        let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
        format!("[]string{{{}}}", items.join(", "))
    };
    let groups = if groups.is_empty() { "[]string(nil)".to_owned() } else { list(groups) };
    let mut by_key: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in extras {
        by_key.entry(key).or_default().push(value);
    }
    let extra = if by_key.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let entries: Vec<String> =
            by_key.iter().map(|(key, values)| format!("{key:?}:{}", list(values))).collect();
        format!("map[string][]string{{{}}}", entries.join(", "))
    };
    format!("&user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:{groups}, Extra:{extra}}}")
}

fn check(
    server: &Server,
    user: &User,
    group: &str,
    resource: &str,
    subresource: &str,
    namespace: &str,
    name: &str,
) -> Result<(), ApiError> {
    let version = if group.is_empty() { "" } else { "v1" };
    let attributes = Attributes {
        user,
        verb: "impersonate",
        is_resource: true,
        group,
        version,
        resource,
        subresource,
        namespace,
        name,
        path: "",
    };
    match authorization::decide(&server.parts.authorizers, &attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(attributes.forbidden(&reason)),
    }
}
