//! Certificate signing requests.

mod validate;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::field::Errors;
use crate::registry::access::{
    has, list_at, list_mut, make_map, of_type, opt_int, remove, restore, set, str_at,
};
use crate::registry::kind::{Column, Kind, NameRule, Writer};
use crate::table::{AGE, NAME, age, column, human_duration, name, text_or};

pub use validate::organizations;

/// The rules of certificate signing requests.
pub struct CertificateSigningRequest;

/// What says who asked; only the server writes it.
const REQUESTER: [&str; 4] = ["/spec/username", "/spec/groups", "/spec/uid", "/spec/extra"];

impl Kind for CertificateSigningRequest {
    fn default(&self, request: &mut Value) {
        make_map(request, "/status");
    }

    fn prepare_create(&self, request: &mut Value, writer: &Writer<'_>) {
        for field in REQUESTER {
            remove(request, field);
        }
        set(request, "/spec/username", writer.user);
        if !writer.groups.is_empty() {
            set(request, "/spec/groups", json!(writer.groups));
        }
        if !writer.uid.is_empty() {
            set(request, "/spec/uid", writer.uid);
        }
        if !writer.extra.is_empty() {
            set(request, "/spec/extra", json!(writer.extra));
        }
        set(request, "/status", json!({}));
    }

    fn prepare_update(&self, request: &mut Value, old: &Value, _writer: &Writer<'_>) {
        restore(request, old, "/spec");
        restore(request, old, "/status");
    }

    fn validate(&self, request: &Value) -> Errors {
        validate::validate(request)
    }

    fn validate_update(&self, request: &Value, old: &Value) -> Errors {
        validate::validate_update(request, old, None)
    }

    /// Signers do not touch what approvers said.
    fn prepare_status_write(&self, request: &mut Value, old: &Value, writer: &Writer<'_>) {
        for kind in ["Approved", "Denied"] {
            keep_conditions(request, old, kind);
        }
        date_conditions(request, old, writer.now);
    }

    fn validate_status_update(&self, request: &Value, old: &Value) -> Errors {
        validate::validate_update(request, old, Some(validate::Part::Status))
    }

    fn prepare_part_update(&self, request: &mut Value, old: &Value, _part: &str, writer: &Writer<'_>) {
        date_conditions(request, old, writer.now);
    }

    fn validate_part_update(&self, request: &Value, old: &Value, _part: &str) -> Errors {
        validate::validate_update(request, old, Some(validate::Part::Approval))
    }

    /// Names may be anything that fits into a path.
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, request: &Value, now: Timestamp) -> Vec<Value> {
        let duration =
            opt_int(request, "/spec/expirationSeconds").map_or_else(|| "<none>".into(), human_duration);
        vec![
            name(request),
            age(request, now),
            text_or(request, "/spec/signerName", "<none>"),
            str_at(request, "/spec/username").into(),
            duration.into(),
            condition(request).into(),
        ]
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn field_values(&self, request: &Value) -> Vec<String> {
        vec![str_at(request, "/spec/signerName").to_owned()]
    }
}

/// Restores the conditions of a type, if there are as many of them as before.
fn keep_conditions(request: &mut Value, old: &Value, kind: &str) {
    let is = |condition: &&Value| str_at(condition, "/type") == kind;
    let was: Vec<&Value> = list_at(old, "/status/conditions").iter().filter(is).collect();
    if list_at(request, "/status/conditions").iter().filter(is).count() == was.len() {
        let kept = list_mut(request, "/status/conditions").filter(|c| str_at(c, "/type") == kind);
        for (condition, was) in kept.zip(was) {
            *condition = was.clone();
        }
    }
}

/// Says when conditions without a time were written, and since when they are what they are.
fn date_conditions(request: &mut Value, old: &Value, now: Timestamp) {
    let now = crate::metadata::time(now);
    for condition in list_mut(request, "/status/conditions") {
        if !has(condition, "/lastUpdateTime") {
            set(condition, "/lastUpdateTime", now.clone());
        }
        if !has(condition, "/lastTransitionTime") {
            let before = list_at(old, "/status/conditions").iter().find(|was| {
                str_at(was, "/type") == str_at(condition, "/type")
                    && str_at(was, "/status") == str_at(condition, "/status")
                    && has(was, "/lastTransitionTime")
            });
            let since = before.map_or(now.as_str(), |was| str_at(was, "/lastTransitionTime")).to_owned();
            set(condition, "/lastTransitionTime", since);
        }
    }
}

fn condition(request: &Value) -> String {
    let is = |kind| of_type(list_at(request, "/status/conditions"), kind).is_some();
    let mut text = String::from(if is("Denied") {
        "Denied"
    } else if is("Approved") {
        "Approved"
    } else {
        "Pending"
    });
    if is("Failed") {
        text.push_str(",Failed");
    }
    if !str_at(request, "/status/certificate").is_empty() {
        text.push_str(",Issued");
    }
    text
}

const COLUMNS: &[Column] = &[
    NAME,
    AGE,
    column(
        "SignerName",
        "string",
        "Requested signer for the request. It is a qualified name in the form: `scope-hostname.io/name`. If empty, it will be defaulted:\n 1. If it's a kubelet client certificate, it is assigned\n    \"kubernetes.io/kube-apiserver-client-kubelet\".\n 2. If it's a kubelet serving certificate, it is assigned\n    \"kubernetes.io/kubelet-serving\".\n 3. Otherwise, it is assigned \"kubernetes.io/legacy-unknown\".\nDistribution of trust for signers happens out of band. You can select on this field using `spec.signerName`.",
    ),
    column("Requestor", "string", "Base64-encoded PKCS#10 CSR data"),
    column(
        "RequestedDuration",
        "string",
        "expirationSeconds is the requested duration of validity of the issued certificate. The certificate signer may issue a certificate with a different validity duration so a client must check the delta between the notBefore and and notAfter fields in the issued certificate to determine the actual duration.\n\nThe v1.22+ in-tree implementations of the well-known Kubernetes signers will honor this field as long as the requested duration is not greater than the maximum duration they will honor per the --cluster-signing-duration CLI flag to the Kubernetes controller manager.\n\nCertificate signers may not honor this field for various reasons:\n\n  1. Old signer that is unaware of the field (such as the in-tree\n     implementations prior to v1.22)\n  2. Signer whose configured maximum is shorter than the requested duration\n  3. Signer whose configured minimum is longer than the requested duration\n\nThe minimum valid value for expirationSeconds is 600, i.e. 10 minutes.",
    ),
    column("Condition", "string", "Conditions applied to the request, such as approval or denial."),
];
