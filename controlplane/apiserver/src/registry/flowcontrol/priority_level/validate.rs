//! Everything wrong with priority levels.

use serde_json::{Value, json};

use crate::field::{Errors, Path};
use crate::registry::access::{at, get, has, int_at, opt_int, remove, str_at};
use crate::registry::flowcontrol::validate_conditions;
use crate::registry::internal;

const SPEC: Path<'static> = Path::new("spec");
const POSITIVE: &str = "must be positive";
const MAX_QUEUES: i64 = 10_000_000;
/// The hash of a flow has so many bits to choose queues by.
const HASH_BITS: i64 = 60;

/// A level, new or changed.
pub fn validate(level: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, name) = (at(level, "/spec"), str_at(level, "/metadata/name"));
    let kind = str_at(spec, "/type");
    if (name == "exempt") != (kind == "Exempt") {
        let why = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.invalid_str(&SPEC.child("type"), kind, why);
    }
    let limited = SPEC.child("limited");
    match (kind, get(spec, "/limited")) {
        ("Exempt", given) => {
            if let Some(exempt) = get(spec, "/exempt") {
                validate_shares(&mut errors, &SPEC.child("exempt"), exempt);
            }
            if given.is_some() {
                errors.forbidden(&limited, "must be nil if the type is not Limited");
            }
        }
        ("Limited", given) => {
            if has(spec, "/exempt") {
                errors.forbidden(&SPEC.child("exempt"), "must be nil if the type is Limited");
            }
            match given {
                None => errors.required(&limited, "must not be empty when type is Limited"),
                Some(given) => validate_limited(&mut errors, &limited, given),
            }
        }
        _ => errors.not_supported(&SPEC.child("type"), &kind.into(), &["Exempt", "Limited"]),
    }
    if differs_from_mandatory(name, spec) {
        let why = format!("spec of '{name}' must equal the fixed value");
        internal::invalid(&mut errors, &SPEC, "PriorityLevelConfigurationSpec", spec, &why);
    }
    validate_conditions(&mut errors, level);
    errors
}

/// Two levels are as they are in every cluster; the shares of the exempt one may be chosen.
fn differs_from_mandatory(name: &str, spec: &Value) -> bool {
    match name {
        "exempt" => {
            let mut spec = spec.clone();
            remove(&mut spec, "/exempt");
            spec != json!({"type": "Exempt"})
        }
        "catch-all" => {
            let limited = json!({
                "nominalConcurrencyShares": 5,
                "limitResponse": {"type": "Reject"},
                "lendablePercent": 0,
            });
            *spec != json!({"type": "Limited", "limited": limited})
        }
        _ => false,
    }
}

fn validate_shares(errors: &mut Errors, path: &Path<'_>, owner: &Value) {
    if let Some(shares) = opt_int(owner, "/nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let why = "must be a non-negative integer";
        errors.invalid(&path.child("nominalConcurrencyShares"), &shares.into(), why);
    }
    validate_lendable(errors, path, owner);
}

fn validate_lendable(errors: &mut Errors, path: &Path<'_>, owner: &Value) {
    if let Some(percent) = opt_int(owner, "/lendablePercent").filter(|share| !(0..=100).contains(share)) {
        let why = "must be between 0 and 100, inclusive";
        errors.invalid(&path.child("lendablePercent"), &percent.into(), why);
    }
}

fn validate_limited(errors: &mut Errors, path: &Path<'_>, limited: &Value) {
    if let Some(shares) = opt_int(limited, "/nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let why = "must be a non-negative integer";
        errors.invalid(&path.child("nominalConcurrencyShares"), &shares.into(), why);
    }
    let response_path = path.child("limitResponse");
    let response = at(limited, "/limitResponse");
    let queuing = response_path.child("queuing");
    match (str_at(response, "/type"), get(response, "/queuing")) {
        ("Reject", Some(_)) => {
            errors.forbidden(&queuing, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Reject", None) => {}
        ("Queue", None) => {
            errors.required(&queuing, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(queues)) => validate_queuing(errors, &queuing, queues),
        (kind, _) => {
            errors.not_supported(&response_path.child("type"), &kind.into(), &["Queue", "Reject"]);
        }
    }
    validate_lendable(errors, path, limited);
    if let Some(percent) = opt_int(limited, "/borrowingLimitPercent").filter(|percent| *percent < 0) {
        let why = "if specified, must be a non-negative integer";
        errors.invalid(&path.child("borrowingLimitPercent"), &percent.into(), why);
    }
}

fn validate_queuing(errors: &mut Errors, path: &Path<'_>, queuing: &Value) {
    let length = int_at(queuing, "/queueLengthLimit");
    if length <= 0 {
        errors.invalid(&path.child("queueLengthLimit"), &length.into(), POSITIVE);
    }
    let (queues, hand) = (int_at(queuing, "/queues"), int_at(queuing, "/handSize"));
    let shown = queues.into();
    if queues <= 0 {
        errors.invalid(&path.child("queues"), &shown, POSITIVE);
    } else if queues > MAX_QUEUES {
        errors.invalid(&path.child("queues"), &shown, &format!("must not be greater than {MAX_QUEUES}"));
    }
    let (path, shown) = (path.child("handSize"), hand.into());
    if hand <= 0 {
        errors.invalid(&path, &shown, POSITIVE);
    } else if hand > queues {
        errors.invalid(&path, &shown, &format!("should not be greater than queues ({queues})"));
    } else if is_too_large(queues, hand) {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.invalid(&path, &shown, &why);
    }
}

/// Whether a hash has too few bits to deal a hand.
fn is_too_large(deck: i64, hand: i64) -> bool {
    let hands = u128::from(deck.unsigned_abs()).saturating_pow(u32::try_from(hand).unwrap_or(u32::MAX));
    hands > 1 << HASH_BITS
}
