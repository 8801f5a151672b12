//! Bootstrap tokens: those that are over are deleted, and `cluster-info` is signed with those that are not.
//!
//! Both are off by default, as upstream; `kubeadm` turns them on, so that machines can join that know nothing of the
//! cluster but a token: the signature tells them that `cluster-info` comes from someone who knows it too.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/>.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::future::join;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::DeleteParams;

use crate::Context;
use crate::api::Error;
use crate::clock::{Clock, remaining};
use crate::informers::Informer;
use crate::ownership::wake_itself;
use crate::queue::{Key, Queue};

/// The secrets that are tokens.
const TOKENS: &str = "metadata.namespace=kube-system,type=bootstrap.kubernetes.io/token";
const NAMESPACE: &str = "kube-system";
/// What is signed: a ConfigMap of `kube-public`, and in it this key.
const SIGNED: &str = "metadata.namespace=kube-public,metadata.name=cluster-info";
const CONTENT: &str = "kubeconfig";
/// Before the token's id, the key of its signature.
const SIGNATURE: &str = "jws-kubeconfig-";
const NAME: &str = "bootstrap-token-";

/// Deletes tokens that have expired.
pub(crate) fn start_cleaning(context: &Context) -> impl Future<Output = ()> + use<> {
    let tokens: Informer<Secret> = context.informers.selected(TOKENS);
    let (clock, queue) = (context.clock.clone(), context.queue("token_cleaner"));
    wake_itself(&tokens, &queue);
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokens.synced() => {}
        }
        queue.run(1, &shutdown, |key| clean(&tokens, &clock, &queue, key)).await;
    }
}

async fn clean(tokens: &Informer<Secret>, clock: &Clock, queue: &Queue<Key>, key: Key) -> Result<(), Error> {
    let Some(token) = tokens.get(&key.namespace, &key.name) else { return Ok(()) };
    match validity(&token, clock.now()) {
        Validity::Over => tokens.delete(&token, DeleteParams::default()).await,
        Validity::For(wait) => {
            queue.add_after(key, wait);
            Ok(())
        }
        Validity::Ever => Ok(()),
    }
}

/// How long a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Validity {
    Ever,
    For(Duration),
    Over,
}

/// An expiration that cannot be read is taken for over: better a token too few.
fn validity(token: &Secret, now: Timestamp) -> Validity {
    let Some(text) = data(token, "expiration") else { return Validity::Ever };
    let left = text.parse::<Timestamp>().ok().and_then(|at| remaining(at, 0, now));
    left.map_or(Validity::Over, Validity::For)
}

fn data<'a>(token: &'a Secret, key: &str) -> Option<&'a str> {
    let value = token.data.as_ref()?.get(key)?;
    std::str::from_utf8(&value.0).ok().filter(|value| !value.is_empty())
}

/// Keeps the signatures of `cluster-info`.
pub(crate) fn start_signing(context: &Context) -> impl Future<Output = ()> + use<> {
    let tokens: Informer<Secret> = context.informers.selected(TOKENS);
    let maps: Informer<ConfigMap> = context.informers.selected(SIGNED);
    let (clock, queue) = (context.clock.clone(), context.queue("bootstrap_signer_queue"));
    wake_itself(&maps, &queue);
    let (wake, signed) = (queue.clone(), Key::new("kube-public", "cluster-info"));
    let key = signed.clone();
    tokens.subscribe(move |_| wake.add(key.clone()));
    let shutdown = context.shutdown.clone();
    async move {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = join(tokens.synced(), maps.synced()) => {}
        }
        let sign = async |key: Key| {
            let Some(map) = maps.get(&key.namespace, &key.name) else { return Ok(()) };
            let tokens = tokens.list(NAMESPACE);
            match maps.update(&map, &sign(&map, tokens.iter().map(AsRef::as_ref), clock.now())).await {
                Err(error) if error.is_not_found() => Ok(()),
                outcome => outcome,
            }
        };
        queue.run(1, &shutdown, sign).await;
    }
}

/// The map with one signature for each token that may sign, and no others.
fn sign<'a>(map: &ConfigMap, tokens: impl Iterator<Item = &'a Secret>, now: Timestamp) -> ConfigMap {
    let mut signed = map.clone();
    let Some(data) = &mut signed.data else { return signed };
    let Some(content) = data.get(CONTENT).cloned() else { return signed };
    data.retain(|key, _| !key.starts_with(SIGNATURE));
    let signatures = tokens
        .filter_map(|token| signing(token, now))
        .map(|(id, secret)| (format!("{SIGNATURE}{id}"), detached_signature(content.as_bytes(), id, secret)));
    data.extend(signatures.collect::<BTreeMap<_, _>>());
    signed
}

/// The id and the secret of a token that may sign.
fn signing(token: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let id = data(token, "token-id")?;
    let is_named_so = token.metadata.name.as_deref()?.strip_prefix(NAME) == Some(id);
    let may_sign = data(token, "usage-bootstrap-signing") == Some("true");
    let good = is_named_so && may_sign && validity(token, now) != Validity::Over;
    good.then_some((id, data(token, "token-secret")?))
}

/// A JSON web signature (RFC 7515) by HMAC with SHA-256, its content left out (appendix F).
fn detached_signature(content: &[u8], id: &str, secret: &str) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let header = encode(serde_json::json!({"alg": "HS256", "kid": id}).to_string().as_bytes());
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, format!("{header}.{}", encode(content)).as_bytes());
    format!("{header}..{}", encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn token(id: &str, expiration: &str) -> Secret {
        let data = [
            ("token-id", id),
            ("token-secret", "tokenSecret"),
            ("usage-bootstrap-signing", "true"),
            ("expiration", expiration),
        ];
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(value.as_bytes().to_vec())));
        let mut token = Secret { data: Some(data.into()), ..Secret::default() };
        token.metadata.name = Some(format!("{NAME}{id}"));
        token
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_good_until_it_expires_and_one_without_expiration_for_ever() {
        let expiring = token("aaaaaa", "1970-01-01T00:01:00Z");
        assert_eq!(validity(&expiring, at(20)), Validity::For(Duration::from_secs(40)));
        assert_eq!(validity(&expiring, at(60)), Validity::Over);
        assert_eq!(validity(&token("aaaaaa", ""), at(0)), Validity::Ever);
        assert_eq!(validity(&token("aaaaaa", "soon"), at(0)), Validity::Over);
    }

    #[test]
    fn the_signature_is_what_kubeadm_expects() {
        // The example of upstream's own test.
        let content = b"Hello from the other side. I must have called a thousand times.";
        assert_eq!(
            detached_signature(content, "joshua", "my voice is my passport"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..Wvm4lABG2MTCQNvjZK5AJ7th6Qm1ywTmBDAVJNF7IHM"
        );
    }

    #[test]
    fn cluster_info_has_one_signature_for_each_token_that_may_sign() {
        let stale = (format!("{SIGNATURE}gone00"), "old".to_owned());
        let data = [(CONTENT.to_owned(), "config".to_owned()), stale];
        let map = ConfigMap { data: Some(data.into()), ..ConfigMap::default() };
        let mut silent = token("bbbbbb", "");
        silent.data.as_mut().unwrap().remove("usage-bootstrap-signing");
        let mut misnamed = token("cccccc", "");
        misnamed.metadata.name = Some(format!("{NAME}dddddd"));
        let over = token("eeeeee", "1970-01-01T00:00:01Z");
        let tokens = [token("aaaaaa", ""), silent, misnamed, over];
        let signed = sign(&map, tokens.iter(), at(5));
        let keys: Vec<_> = signed.data.as_ref().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["jws-kubeconfig-aaaaaa", CONTENT]);
        assert_eq!(sign(&signed, tokens.iter(), at(5)), signed, "nothing is left to do");
        assert_eq!(sign(&ConfigMap::default(), tokens.iter(), at(5)), ConfigMap::default());
    }
}
