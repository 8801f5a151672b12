//! The token controller: secrets of type `kubernetes.io/service-account-token`.
//!
//! Such a secret belongs to the service account in its annotation. It is filled with a token (bound to the secret, so
//! deleting the secret revokes it), renewed before that expires, and deleted with its account. Accounts lose their
//! mention of secrets that are gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::DeleteParams;

use crate::Context;
use crate::api::{Error, path_of};
use crate::clock::{Clock, remaining};
use crate::informers::Informer;
use crate::queue::{Key, Queue};

const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// When the token in the secret is to be replaced.
const RENEW: &str = "vkube.dev/token-renewal-time";
/// Ten years: people who ask for such a secret expect its token to stay. The API server may grant less.
const LIFETIME_SECONDS: i64 = 10 * 365 * 24 * 3600;

pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + use<> {
    let controller = Controller {
        accounts: context.informers.of(),
        secrets: context.informers.selected("type=kubernetes.io/service-account-token"),
        root_ca: context.root_ca.clone(),
        clock: context.clock.clone(),
        queue: context.queue("serviceaccount_tokens_secret"),
    };
    let queue = controller.queue.clone();
    controller.secrets.subscribe(move |change| {
        if let Some(secret) = change.new.as_ref().or(change.old.as_ref()) {
            queue.add(Key::of(&**secret));
        }
    });
    let (queue, secrets) = (controller.queue.clone(), controller.secrets.clone());
    controller.accounts.subscribe(move |change| {
        // Only the coming and going of an account, not its changes, concern its secrets.
        let Some(account) = change.new.as_ref().xor(change.old.as_ref()) else { return };
        for secret in secrets.list(account.metadata.namespace.as_deref().unwrap_or_default()) {
            if account_name(&secret) == account.metadata.name.as_deref() {
                queue.add(Key::of(&*secret));
            }
        }
    });
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = futures::future::join(controller.secrets.synced(), controller.accounts.synced()) => {}
        }
        controller.queue.run(2, &shutdown, |key| controller.reconcile(key)).await;
    }
}

struct Controller {
    accounts: Informer<ServiceAccount>,
    secrets: Informer<Secret>,
    root_ca: Option<String>,
    clock: Clock,
    queue: Queue<Key>,
}

/// What to do about a token secret.
#[derive(Debug, PartialEq)]
enum Step {
    /// Its account does not exist, or is another of that name.
    Delete,
    /// It needs a token.
    Fill,
    /// It is good, and to be renewed after this time if it has one.
    Wait(Option<Duration>),
    /// It names no account.
    Ignore,
}

fn plan(secret: &Secret, account: Option<&ServiceAccount>, root_ca: Option<&str>, now: Timestamp) -> Step {
    if account_name(secret).is_none() {
        return Step::Ignore;
    }
    let Some(account) = account else { return Step::Delete };
    let uid = annotation(secret, ACCOUNT_UID);
    if uid.is_some() && uid != account.metadata.uid.as_deref() {
        return Step::Delete;
    }
    let data =
        |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map(|value| value.0.as_slice());
    let complete = uid.is_some()
        && data("token").is_some_and(|token| !token.is_empty())
        && data("namespace").is_some()
        && (root_ca.is_none() || data("ca.crt") == root_ca.map(str::as_bytes));
    if !complete {
        return Step::Fill;
    }
    match annotation(secret, RENEW).and_then(|at| at.parse::<Timestamp>().ok()) {
        None => Step::Wait(None),
        Some(at) => remaining(at, 0, now).map_or(Step::Fill, |wait| Step::Wait(Some(wait))),
    }
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<(), Error> {
        let Some(secret) = self.secrets.get(&key.namespace, &key.name) else {
            return self.forget(&key).await;
        };
        let name = account_name(&secret).unwrap_or_default();
        let mut account = self.accounts.get(&key.namespace, name);
        if account.is_none() && !name.is_empty() {
            // Deleting a credential is not for a cache to decide.
            account = self.accounts.fetch(&key.namespace, name).await?.map(Arc::new);
        }
        match plan(&secret, account.as_deref(), self.root_ca.as_deref(), self.clock.now()) {
            Step::Ignore | Step::Wait(None) => Ok(()),
            Step::Wait(Some(wait)) => {
                self.queue.add_after(key, wait);
                Ok(())
            }
            Step::Delete => self.secrets.delete(&secret, DeleteParams::default()).await,
            Step::Fill => match account {
                Some(account) => self.fill(&secret, &account).await,
                None => Ok(()),
            },
        }
    }

    async fn fill(&self, secret: &Secret, account: &ServiceAccount) -> Result<(), Error> {
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: None,
                expiration_seconds: Some(LIFETIME_SECONDS),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Secret".to_owned()),
                    name: secret.metadata.name.clone(),
                    uid: secret.metadata.uid.clone(),
                }),
            }),
            ..TokenRequest::default()
        };
        let path = format!("{}/token", path_of::<ServiceAccount>(&account.metadata));
        let granted: TokenRequest = self.secrets.api().create(&path, &request).await?;
        let granted = granted.status.unwrap_or_default();
        let (Some(token), Some(expires)) = (granted.token, granted.expiration_timestamp) else {
            return Err(Error::NotYet(format!("no token was granted at {path}")));
        };

        let mut filled = secret.clone();
        let mut data = BTreeMap::from([
            ("token", token.into_bytes()),
            ("namespace", account.metadata.namespace.clone().unwrap_or_default().into_bytes()),
        ]);
        if let Some(bundle) = &self.root_ca {
            data.insert("ca.crt", bundle.clone().into_bytes());
        }
        let entries = data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value)));
        filled.data.get_or_insert_default().extend(entries);
        let annotations = filled.metadata.annotations.get_or_insert_default();
        annotations.insert(ACCOUNT_UID.to_owned(), account.metadata.uid.clone().unwrap_or_default());
        annotations.insert(RENEW.to_owned(), renewal(self.clock.now(), expires.0).to_string());
        self.secrets.update(secret, &filled).await
    }

    /// Takes the mention of a secret that is gone off its account.
    async fn forget(&self, key: &Key) -> Result<(), Error> {
        for account in self.accounts.list(&key.namespace) {
            let mentions = |name: &Option<String>| name.as_deref() == Some(&key.name);
            if account.secrets.iter().flatten().any(|reference| mentions(&reference.name)) {
                let mut updated = ServiceAccount::clone(&account);
                updated.secrets.get_or_insert_default().retain(|reference| !mentions(&reference.name));
                self.accounts.update(&account, &updated).await?;
            }
        }
        Ok(())
    }
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn account_name(secret: &Secret) -> Option<&str> {
    annotation(secret, ACCOUNT_NAME).filter(|name| !name.is_empty())
}

/// Four fifths into the token's life.
fn renewal(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.as_second() - now.as_second();
    Timestamp::from_second(now.as_second() + life / 5 * 4).unwrap_or(expires)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn account(uid: &str) -> ServiceAccount {
        ServiceAccount {
            metadata: ObjectMeta { uid: Some(uid.into()), ..ObjectMeta::default() },
            ..ServiceAccount::default()
        }
    }

    fn secret(annotations: &[(&str, &str)], data: &[(&str, &str)]) -> Secret {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Secret {
            metadata: ObjectMeta {
                annotations: Some(annotations.iter().map(own).collect()),
                ..ObjectMeta::default()
            },
            data: Some(
                data.iter().map(own).map(|(key, value)| (key, ByteString(value.into_bytes()))).collect(),
            ),
            ..Secret::default()
        }
    }

    #[test]
    fn a_token_secret_lives_and_dies_with_its_account() {
        let now = Timestamp::from_second(100).unwrap();
        let good: &[_] = &[("token", "t"), ("namespace", "shop"), ("ca.crt", "CA")];
        let bound: &[_] = &[(ACCOUNT_NAME, "bot"), (ACCOUNT_UID, "1")];
        let due = [(ACCOUNT_NAME, "bot"), (ACCOUNT_UID, "1"), (RENEW, "1970-01-01T00:00:50Z")];
        let later = [(ACCOUNT_NAME, "bot"), (ACCOUNT_UID, "1"), (RENEW, "1970-01-01T00:02:00Z")];
        for (secret, account, expected) in [
            (secret(&[], &[]), None, Step::Ignore),
            (secret(&[(ACCOUNT_NAME, "bot")], &[]), None, Step::Delete),
            (secret(&[(ACCOUNT_NAME, "bot")], &[]), Some(account("1")), Step::Fill),
            (secret(bound, good), Some(account("1")), Step::Wait(None)),
            (secret(bound, good), Some(account("2")), Step::Delete),
            (secret(bound, &good[..2]), Some(account("1")), Step::Fill),
            (secret(&due, good), Some(account("1")), Step::Fill),
            (secret(&later, good), Some(account("1")), Step::Wait(Some(Duration::from_secs(20)))),
        ] {
            assert_eq!(plan(&secret, account.as_ref(), Some("CA"), now), expected, "{secret:?}");
        }
    }

    #[test]
    fn a_token_is_renewed_well_before_it_expires() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(renewal(at(100), at(600)), at(500));
    }
}
