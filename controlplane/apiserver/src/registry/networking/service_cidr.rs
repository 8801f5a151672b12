//! Service CIDRs: where cluster IPs come from.

use jiff::Timestamp;
use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, list_at, make_map, strs_at};
use crate::registry::internal;
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, joined, name};
use crate::validation::fields::IMMUTABLE;
use crate::validation::ip;

/// The rules of service CIDRs.
pub struct ServiceCidr;

impl Kind for ServiceCidr {
    fn default(&self, cidr: &mut Value) {
        make_map(cidr, "/status");
    }

    fn prepare_create(&self, cidr: &mut Value, _writer: &Writer<'_>) {
        make_map(cidr, "/status");
    }

    fn validate(&self, cidr: &Value) -> Errors {
        let mut errors = Errors::default();
        validate_cidrs(&mut errors, cidr);
        errors
    }

    /// A second family may be added, all else stays.
    fn validate_update(&self, cidr: &Value, old: &Value) -> Errors {
        let mut errors = Errors::default();
        let spec = Path::new("spec");
        let path = spec.child("cidrs");
        let (new, had) = (list_at(cidr, "/spec/cidrs"), list_at(old, "/spec/cidrs"));
        let added = had.len() == 1 && new.len() == 2;
        if new.len() != had.len() && !added {
            errors.invalid(&path, at(cidr, "/spec/cidrs"), IMMUTABLE);
            return errors;
        }
        for (index, (new, _)) in new.iter().zip(had).enumerate().filter(|(_, (new, had))| new != had) {
            errors.invalid(&path.index(index), new, IMMUTABLE);
        }
        if added {
            validate_cidrs(&mut errors, cidr);
        }
        errors
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, cidr: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(cidr), joined(cidr, "/spec/cidrs").into(), age(cidr, now)]
    }
}

fn validate_cidrs(errors: &mut Errors, cidr: &Value) {
    let spec = Path::new("spec");
    let path = &spec.child("cidrs");
    match list_at(cidr, "/spec/cidrs").len() {
        0 => return errors.required(path, "at least one CIDR required"),
        1 | 2 => {}
        _ => {
            let spec = at(cidr, "/spec");
            return internal::invalid(errors, path, "ServiceCIDRSpec", spec, "may only hold up to 2 values");
        }
    }
    for (index, text) in strs_at(cidr, "/spec/cidrs").enumerate() {
        ip::strict_cidr(errors, &path.index(index), text);
    }
    let families: Vec<bool> = strs_at(cidr, "/spec/cidrs")
        .filter_map(ip::parse_cidr)
        .map(|(address, _)| address.is_ipv6())
        .collect();
    if matches!(families.as_slice(), [first, second] if first == second) {
        errors.invalid(
            path,
            at(cidr, "/spec/cidrs"),
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        );
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "CIDRs",
        "string",
        "CIDRs defines the IP blocks in CIDR notation (e.g. \"192.168.0.0/24\" or \"2001:db8::/64\") from which to assign service cluster IPs. Max of two CIDRs is allowed, one of each IP family. This field is immutable.",
    ),
    AGE,
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(new: &[&str], old: &[&str]) -> Vec<String> {
        let of = |cidrs: &[&str]| {
            if cidrs.is_empty() { json!({"spec": {}}) } else { json!({"spec": {"cidrs": cidrs}}) }
        };
        ServiceCidr.validate_update(&of(new), &of(old)).0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_second_family_may_be_added_but_nothing_else_changes() {
        assert_eq!(told(&["10.0.0.0/24", "fd00::/112"], &["10.0.0.0/24"]), [""; 0]);
        assert_eq!(
            told(&["10.0.1.0/24"], &["10.0.0.0/24"]),
            ["spec.cidrs[0]: Invalid value: \"10.0.1.0/24\": field is immutable"]
        );
        assert_eq!(told(&[], &["10.0.0.0/24"]), ["spec.cidrs: Invalid value: null: field is immutable"]);
    }

    #[test]
    fn what_is_added_is_judged_and_what_was_there_is_not() {
        assert_eq!(told(&["010.0.0.0/24"], &["010.0.0.0/24"]), [""; 0]);
        assert_eq!(
            told(&["10.0.0.0/24", "10.0.1.0/24"], &["10.0.0.0/24"]),
            [
                "spec.cidrs: Invalid value: [\"10.0.0.0/24\",\"10.0.1.0/24\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
            ]
        );
    }
}
