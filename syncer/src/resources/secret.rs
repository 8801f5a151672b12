//! Secrets: those that something on the host refers to. All fields are the virtual side's.

use k8s_openapi::api::core::v1::Secret;

use super::mirror::{is_needed, mirror, mirrored};
use crate::context::{Context, Kind};
use crate::error::Result;
use crate::labels::{ObjectKey, Translator};
use crate::queue::Outcome;

const SERVICE_ACCOUNT_TOKEN: &str = "kubernetes.io/service-account-token";

/// Brings one Secret in step.
pub(crate) async fn reconcile(cx: &Context, key: &ObjectKey) -> Result<Outcome> {
    let needed = is_needed(cx, Kind::Secret, key);
    let object = if needed { cx.virtual_object::<Secret>(key).await? } else { None };
    let desired = mirrored(cx, Kind::Secret, object, to_host)?;
    mirror(cx, Kind::Secret, key, &cx.host_side.secrets, desired).await
}

/// Token Secrets are `Opaque` on the host, where their service account does not exist.
fn to_host(translator: &Translator, object: Secret) -> Secret {
    let kind =
        object.type_.map(|kind| if kind == SERVICE_ACCOUNT_TOKEN { "Opaque".to_owned() } else { kind });
    Secret {
        metadata: translator.metadata("Secret", &object.metadata),
        data: object.data,
        string_data: None,
        immutable: None,
        type_: kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn token_secrets_mean_nothing_to_the_host() {
        let secret = Secret { type_: Some(SERVICE_ACCOUNT_TOKEN.into()), ..Secret::default() };
        let host = to_host(&Translator::new(Config::new("demo", "host")), secret);
        assert_eq!(host.type_.as_deref(), Some("Opaque"));
    }
}
