//! Secrets.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde_json::Value;

use super::config_map::{MAX_SIZE, decoded_size, validate_key};
use crate::field::{Errors, Path};
use crate::patch::printed::json_name;
use crate::registry::access::{
    at, count_at, entries, get, has, make_map, map_at, remove, set_default, str_at,
};
use crate::registry::kind::{Column, Kind};
use crate::schema::json;
use crate::table::{AGE, NAME, age, column, name};
use crate::validation::fields::{immutable_field, validate_kept_content};

/// The rules of secrets.
pub struct Secret;

impl Kind for Secret {
    fn default(&self, secret: &mut Value) {
        set_default(secret, "/type", "Opaque");
        if let Some(Value::Object(texts)) = remove(secret, "/stringData") {
            let data = make_map(secret, "/data");
            for (key, text) in texts {
                data.insert(key, BASE64_STANDARD.encode(text.as_str().unwrap_or_default()).into());
            }
        }
    }

    fn validate(&self, secret: &Value) -> Errors {
        let mut errors = Errors::default();
        let mut size = 0;
        for (key, data) in entries(secret, "/data") {
            validate_key(&mut errors, "data", key);
            size += decoded_size(data);
        }
        if size > MAX_SIZE {
            errors.too_long(&DATA, MAX_SIZE);
        }
        validate_type(&mut errors, secret);
        errors
    }

    fn validate_update(&self, secret: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        immutable_field(&mut errors, &Path::ROOT, secret, old, "type");
        validate_kept_content(&mut errors, secret, old, &["data"]);
        errors.extend(self.validate(secret));
        errors
    }

    fn warnings(&self, secret: &Value, _old: Option<&Value>) -> Vec<String> {
        if str_at(secret, "/type") == "kubernetes.io/tls" {
            certificate_warning(secret).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, secret: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(secret), str_at(secret, "/type").into(), count_at(secret, "/data").into(), age(secret, now)]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["type"]
    }

    fn field_values(&self, secret: &Value) -> Vec<String> {
        vec![str_at(secret, "/type").to_owned()]
    }
}

const DATA: Path<'static> = Path::new("data");

fn content(secret: &Value, key: &str) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(at(secret, "/data").get(key)?.as_str()?).ok()
}

/// Secrets of known types have certain keys.
fn validate_type(errors: &mut Errors, secret: &Value) {
    const ACCOUNT: &str = "kubernetes.io/service-account.name";
    let data = map_at(secret, "/data");
    let has_key = |key: &str| data.is_some_and(|data| data.contains_key(key));
    let mut demand = |key: &str| {
        if !has_key(key) {
            errors.required(&DATA.key(key), "");
        }
    };
    match str_at(secret, "/type") {
        "kubernetes.io/tls" => {
            demand("tls.crt");
            demand("tls.key");
        }
        "kubernetes.io/basic-auth" if !has_key("username") && !has_key("password") => {
            demand("username");
            demand("password");
        }
        "kubernetes.io/ssh-auth" if content(secret, "ssh-privatekey").is_none_or(|key| key.is_empty()) => {
            errors.required(&DATA.key("ssh-privatekey"), "");
        }
        "kubernetes.io/dockercfg" => validate_document(errors, secret, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => validate_document(errors, secret, ".dockerconfigjson"),
        "kubernetes.io/service-account-token" => {
            let account = get(secret, "/metadata/annotations").and_then(|all| all.get(ACCOUNT));
            if account.and_then(Value::as_str).unwrap_or_default().is_empty() {
                errors.required(&Path::new("metadata.annotations").key(ACCOUNT), "");
            }
        }
        _ => {}
    }
}

fn validate_document(errors: &mut Errors, secret: &Value, key: &str) {
    let path = DATA.key(key);
    let Some(text) = content(secret, key) else { return errors.required(&path, "") };
    let why = match json::parse(&text, None) {
        Ok((Value::Object(_) | Value::Null, _)) => return,
        Ok((other, _)) => {
            format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                json_name(&other)
            )
        }
        Err(error) => error.to_string(),
    };
    errors.invalid_str(&path, "<secret contents redacted>", &why);
}

fn certificate_warning(secret: &Value) -> Option<String> {
    let pem = |key: &str, what: &str, is: fn(&str) -> bool| -> Option<String> {
        let text = content(secret, key).unwrap_or_default();
        let labels = pem_labels(&String::from_utf8_lossy(&text));
        if labels.is_empty() {
            return Some(format!("tls: failed to find any PEM data in {what} input"));
        }
        if labels.iter().any(|label| is(label)) {
            return None;
        }
        Some(if what == "key" {
            let found: Vec<String> = labels.iter().map(|label| format!("{label:?}")).collect();
            format!(
                "tls: found no {what} PEM block in {what} input; PEM block types found: [{}]",
                found.join(" ")
            )
        } else {
            format!(
                "tls: failed to find \"CERTIFICATE\" PEM block in {what} input after skipping PEM blocks of the following types: [{}]",
                labels.join(" ")
            )
        })
    };
    has(secret, "/data")
        .then(|| pem("tls.crt", "certificate", |label| label == "CERTIFICATE"))
        .flatten()
        .or_else(|| pem("tls.key", "key", |label| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY")))
}

fn pem_labels(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .map(ToOwned::to_owned)
        .collect()
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Type",
        "string",
        "Used to facilitate programmatic handling of secret data. More info: https://kubernetes.io/docs/concepts/configuration/secret/#secret-types",
    ),
    column(
        "Data",
        "string",
        "Data contains the secret data. Each key must consist of alphanumeric characters, '-', '_' or '.'. The serialized form of the secret data is a base64 encoded string, representing the arbitrary (possibly non-string) data value here. Described in https://tools.ietf.org/html/rfc4648#section-4",
    ),
    AGE,
];
