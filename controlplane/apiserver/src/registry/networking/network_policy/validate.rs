//! Everything wrong with network policies.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, list_at, opt_int, opt_str, str_at, strs_at};
use crate::validation::fields::port_number_or_name;
use crate::validation::{formats, ip, labels};

const SPEC: Path<'static> = Path::new("spec");
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];
const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];

/// A policy, new or changed. CIDRs that were there before may stay, whatever they are.
pub fn validate(policy: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    labels::selector(&mut errors, &SPEC.child("podSelector"), at(policy, "/spec/podSelector"));
    let mut known = BTreeSet::new();
    if let Some(old) = old {
        for_each_block(old, &mut |_, block| {
            known.insert(str_at(block, "/cidr"));
            known.extend(strs_at(block, "/except"));
        });
    }
    for (direction, peers) in DIRECTIONS {
        let rules = SPEC.child(direction);
        for (index, rule) in list_at(policy, &format!("/spec/{direction}")).iter().enumerate() {
            let path = rules.index(index);
            for (index, port) in list_at(rule, "/ports").iter().enumerate() {
                validate_port(&mut errors, &path.child("ports").index(index), port);
            }
            for (index, peer) in list_at(rule, &format!("/{peers}")).iter().enumerate() {
                validate_peer(&mut errors, &path.child(peers).index(index), peer, &known);
            }
        }
    }
    let path = SPEC.child("policyTypes");
    let types = list_at(policy, "/spec/policyTypes");
    if types.len() > 2 {
        errors.invalid(&path, at(policy, "/spec/policyTypes"), "may not specify more than two policyTypes");
        return errors;
    }
    for (index, kind) in types.iter().enumerate() {
        if kind != "Ingress" && kind != "Egress" {
            errors.not_supported(&path.index(index), kind, &["Ingress", "Egress"]);
        }
    }
    errors
}

/// What is questionable about the CIDRs of a policy.
pub fn warnings(policy: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    for_each_block(policy, &mut |path, block| {
        warnings.extend(ip::cidr_warnings(&path.child("cidr"), str_at(block, "/cidr")));
        for (index, except) in strs_at(block, "/except").enumerate() {
            warnings.extend(ip::cidr_warnings(&path.child("except").index(index), except));
        }
    });
    warnings
}

fn for_each_block<'a>(policy: &'a Value, visit: &mut dyn FnMut(&Path<'_>, &'a Value)) {
    for (direction, peers) in DIRECTIONS {
        let rules = SPEC.child(direction);
        for (index, rule) in list_at(policy, &format!("/spec/{direction}")).iter().enumerate() {
            let rule_path = rules.index(index);
            let list = rule_path.child(peers);
            for (index, peer) in list_at(rule, &format!("/{peers}")).iter().enumerate() {
                if let Some(block) = get(peer, "/ipBlock") {
                    visit(&list.index(index).child("ipBlock"), block);
                }
            }
        }
    }
}

fn validate_port(errors: &mut Errors, path: &Path<'_>, port: &Value) {
    if let Some(protocol) = opt_str(port, "/protocol").filter(|protocol| !PROTOCOLS.contains(protocol)) {
        errors.not_supported(&path.child("protocol"), &protocol.into(), PROTOCOLS);
    }
    let number_or_name = at(port, "/port");
    let (end, end_path) = (opt_int(port, "/endPort"), path.child("endPort"));
    match (number_or_name, end) {
        (Value::Null, Some(end)) => {
            errors.invalid(&end_path, &end.into(), "may not be specified when `port` is not specified");
        }
        (Value::String(_), Some(end)) => {
            errors.invalid(&end_path, &end.into(), "may not be specified when `port` is non-numeric");
        }
        _ => {}
    }
    if !number_or_name.is_null() {
        port_number_or_name(errors, &path.child("port"), number_or_name);
    }
    if let (Some(number), Some(end)) = (number_or_name.as_i64(), end) {
        if end < number {
            errors.invalid(&end_path, &end.into(), "must be greater than or equal to `port`");
        }
        for why in formats::port_number(end) {
            errors.invalid(&end_path, &end.into(), &why);
        }
    }
}

fn validate_peer(errors: &mut Errors, path: &Path<'_>, peer: &Value, known: &BTreeSet<&str>) {
    let mut count = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = get(peer, &format!("/{field}")) {
            count += 1;
            labels::selector(errors, &path.child(field), selector);
        }
    }
    let block = get(peer, "/ipBlock");
    if let Some(block) = block {
        validate_block(errors, &path.child("ipBlock"), block, known);
    }
    match (count, block) {
        (0, None) => errors.required(path, "must specify a peer"),
        (1.., Some(_)) => errors.forbidden(path, "may not specify both ipBlock and another peer"),
        _ => {}
    }
}

fn validate_block(errors: &mut Errors, path: &Path<'_>, block: &Value, known: &BTreeSet<&str>) {
    let cidr = str_at(block, "/cidr");
    if cidr.is_empty() {
        return errors.required(&path.child("cidr"), "");
    }
    let check = |errors: &mut Errors, path: &Path<'_>, cidr: &str| {
        if !known.contains(cidr) {
            ip::cidr(errors, path, cidr);
        }
        let (address, prefix) = ip::parse_cidr(cidr)?;
        ipnet::IpNet::new(address, prefix).ok()
    };
    let Some(whole) = check(errors, &path.child("cidr"), cidr) else { return };
    for (index, except) in strs_at(block, "/except").enumerate() {
        let list = path.child("except");
        let path = list.index(index);
        let Some(part) = check(errors, &path, except) else { continue };
        if !whole.contains(&part.addr()) || whole.prefix_len() >= part.prefix_len() {
            errors.invalid_str(&path, except, "must be a strict subset of `cidr`");
        }
    }
}
