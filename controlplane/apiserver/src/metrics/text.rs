//! The two text forms of metrics: OpenMetrics for who asks for it, and the older one of Prometheus.

use http::{HeaderMap, header};

/// The media type of OpenMetrics.
pub const OPEN_METRICS: &str =
    "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";

/// The media type of the older form.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

/// Whether a client asks for OpenMetrics.
pub fn is_open_metrics(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let version = |part: &str| part.strip_prefix("version=").map(ToOwned::to_owned);
        parts.next() == Some("application/openmetrics-text")
            && parts.find_map(version).is_none_or(|version| matches!(version.as_str(), "0.0.1" | "1.0.0"))
    })
}

/// The older form of metrics in OpenMetrics: counters are called as their samples are, numbers are written as
/// Go does, and there is no end.
pub fn plain(open: &str) -> String {
    let mut plain = String::with_capacity(open.len());
    let mut help = "";
    for line in open.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            // Its name depends on the type, which is said next.
            help = described;
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, ty) = typed.split_once(' ').unwrap_or((typed, "untyped"));
            let (suffix, ty) = match ty {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            let help = help.strip_prefix(name).unwrap_or_default();
            plain.push_str(&format!("# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {ty}\n"));
        } else if !line.starts_with('#') {
            sample(line, &mut plain);
            plain.push('\n');
        }
    }
    plain
}

fn sample(line: &str, into: &mut String) {
    const BOUND: &str = "le=\"";
    let bound = line.find(BOUND).map(|at| at + BOUND.len());
    let whole = bound.and_then(|at| Some((at, at + line[at..].find(".0\"")?)));
    match whole {
        Some((from, to)) if line[from..to].bytes().all(|byte| byte.is_ascii_digit()) => {
            into.push_str(&line[..to]);
            into.push_str(&line[to + ".0".len()..]);
        }
        _ => into.push_str(line),
    }
}
