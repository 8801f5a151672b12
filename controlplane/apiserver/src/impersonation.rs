//! Acting as another user
//! (<https://kubernetes.io/docs/reference/access-authn-authz/user-impersonation/>).
//!
//! Rights may be constrained to a kind of user and to what is done as one (KEP-5284): whoever may
//! `impersonate:MODE` somebody and `impersonate-on:MODE:VERB` the object of the request. The right to
//! `impersonate` without constraints is asked for last.

mod mode;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderName};
use percent_encoding::percent_decode_str;

use self::mode::Mode;
use crate::{authorization::Attributes, server::Server, status::ApiError, user::User};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";

/// Whom a request acts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acting {
    /// The user.
    pub user: Arc<User>,
    /// The verb that allowed it; nothing if it was without constraints.
    pub constraint: Option<&'static str>,
}

/// How many users' ways are remembered.
const MAX_KNOWN: usize = 1000;

/// By which mode users have last acted as others. It is tried first, and its refusal is the one that is told.
#[derive(Debug, Default)]
pub struct LastModes(Mutex<HashMap<String, Mode>>);

impl LastModes {
    fn get(&self, user: &str) -> Option<Mode> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(user).copied()
    }

    fn note(&self, user: &str, mode: Mode) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(user) == Some(&mode) {
            return;
        }
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(user.to_owned(), mode);
    }
}

/// Whom the request acts as: the user that its `Impersonate-*` headers name, if its own may do so. The
/// headers are taken away.
pub async fn impersonate(
    server: &Server,
    headers: &mut HeaderMap,
    attributes: &Attributes<'_>,
) -> Result<Option<Acting>, ApiError> {
    let Some(wanted) = wanted(headers)? else { return Ok(None) };
    let last = server.impersonation.get(&attributes.user.name);
    let others = Mode::ALL.into_iter().filter(|mode| Some(*mode) != last);
    let modes = last.into_iter().chain(others).filter(|mode| mode.applies(&wanted, attributes.user));
    let mut first = None;
    for mode in modes {
        match mode.check(server, &wanted, attributes).await {
            Ok(user) => {
                server.impersonation.note(&attributes.user.name, mode);
                return Ok(Some(Acting { user: Arc::new(user), constraint: mode.constraint() }));
            }
            Err(refusal) => {
                first.get_or_insert(refusal);
            }
        }
    }
    Err(first.unwrap_or_else(|| ApiError::internal("all impersonation modes failed")))
}

/// The user that the headers name.
fn wanted(headers: &mut HeaderMap) -> Result<Option<User>, ApiError> {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    let mut wanted = User::default();
    if names.is_empty() {
        return Ok(None);
    }
    for name in &names {
        let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        match name.as_str() {
            USER => wanted.name = values.next().unwrap_or_default().into(),
            UID => wanted.uid = values.next().unwrap_or_default().into(),
            GROUP => wanted.groups = values.map(Into::into).collect(),
            other => {
                let Some(key) = other.strip_prefix(EXTRA) else { continue };
                let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
                wanted.extra.entry(key).or_default().extend(values.map(Into::into));
            }
        }
    }
    if wanted.name.is_empty() {
        if wanted.groups.is_empty() && wanted.uid.is_empty() && wanted.extra.is_empty() {
            return Ok(None);
        }
        return Err(ApiError::bad_request(format!(
            "requested {} without impersonating a user name",
            shown(&wanted)
        )));
    }
    for name in names {
        headers.remove(name);
    }
    Ok(Some(wanted))
}

/// A user without a name, as Go prints it.
fn shown(wanted: &User) -> String {
    let list = |items: &[String]| {
        let items: Vec<String> = items.iter().map(|item| format!("{item:?}")).collect();
        format!("[]string{{{}}}", items.join(", "))
    };
    let groups = if wanted.groups.is_empty() { "[]string(nil)".to_owned() } else { list(&wanted.groups) };
    let extra = if wanted.extra.is_empty() {
        "map[string][]string(nil)".to_owned()
    } else {
        let entries = wanted.extra.iter().map(|(key, values)| format!("{key:?}:{}", list(values)));
        format!("map[string][]string{{{}}}", entries.collect::<Vec<_>>().join(", "))
    };
    format!("&user.DefaultInfo{{Name:\"\", UID:{:?}, Groups:{groups}, Extra:{extra}}}", wanted.uid)
}
