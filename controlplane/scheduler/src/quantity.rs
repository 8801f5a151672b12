//! Amounts of resources in thousandths, which holds every unit a scheduler or the downward API needs.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

/// A list of amounts by resource name, in thousandths of the resource's unit.
pub type Amounts = BTreeMap<String, i128>;

/// The thousandths that a quantity stands for, rounded up; `None` if it is not a quantity.
pub fn milli(text: &str) -> Option<i128> {
    let text = text.trim();
    let digits =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (numerator, denominator) = scale(suffix)?;
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }

    let fraction = fraction.get(..fraction.len().min(9))?;
    let unscaled: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = denominator.checked_mul(10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    let scaled = unscaled.checked_mul(1000)?.checked_mul(numerator)?;
    let rounded = scaled.checked_add(divisor - 1)? / divisor;
    Some(if negative { -rounded } else { rounded })
}

/// What a suffix multiplies with and divides by.
fn scale(suffix: &str) -> Option<(i128, i128)> {
    let binary = |power: u32| Some((1_i128 << (10 * power), 1));
    let decimal = |exponent: u32| Some((10_i128.checked_pow(exponent)?, 1));
    let fraction = |exponent: u32| Some((1, 10_i128.checked_pow(exponent)?));
    match suffix {
        "" => Some((1, 1)),
        "n" => fraction(9),
        "u" => fraction(6),
        "m" => fraction(3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            if exponent < 0 { fraction(exponent.unsigned_abs()) } else { decimal(exponent.unsigned_abs()) }
        }
    }
}

/// The amounts of a resource list; what does not parse counts as nothing.
pub fn amounts(list: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    list.into_iter()
        .flatten()
        .map(|(name, quantity)| (name.clone(), milli(&quantity.0).unwrap_or(0)))
        .collect()
}

/// What a pod asks of a node: its containers together, or its greediest init container if that is more,
/// and its overhead; pod-level requests win where they are given.
pub fn pod_requests(pod: &Pod) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let requests = |container: &Container| {
        amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    };

    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, &requests(container));
    }
    let mut sidecars = Amounts::new();
    for container in spec.init_containers.iter().flatten() {
        let own = requests(container);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut total, &own);
            add(&mut sidecars, &own);
        } else {
            let mut peak = sidecars.clone();
            add(&mut peak, &own);
            raise(&mut total, &peak);
        }
    }
    let whole = |resources: &ResourceRequirements| amounts(resources.requests.as_ref());
    if let Some(pod_level) = spec.resources.as_ref().map(whole) {
        total.extend(pod_level);
    }
    add(&mut total, &amounts(spec.overhead.as_ref()));
    total
}

/// Adds each of `more` to `total`.
pub fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += amount;
    }
}

fn raise(total: &mut Amounts, floor: &Amounts) {
    for (name, amount) in floor {
        let entry = total.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_notation() {
        for (text, expected) in [
            ("1", 1000),
            ("100m", 100),
            ("1.5", 1500),
            ("0.5Gi", 536_870_912_000),
            ("1k", 1_000_000),
            ("2e3", 2_000_000),
            ("1E", 1_000_000_000_000_000_000_000),
            ("1u", 1),
            (".5", 500),
        ] {
            assert_eq!(milli(text), Some(expected), "{text}");
        }
        for text in ["", "x", "1Q", "Gi", "1.2.3"] {
            assert_eq!(milli(text), None, "{text}");
        }
    }

    #[test]
    fn sums_containers_and_takes_the_greediest_init_container() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "init", "resources": {"requests": {"cpu": "1", "memory": "1Ki"}}},
            ],
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "200m"}}},
                {"name": "b", "resources": {"requests": {"cpu": "300m"}}},
            ],
        }}))
        .unwrap();
        let requests = pod_requests(&pod);
        assert_eq!(requests["cpu"], 1100);
        assert_eq!(requests["memory"], 1024 * 1000);
    }
}
