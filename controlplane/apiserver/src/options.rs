//! The query parameters of requests: ListOptions, CreateOptions, UpdateOptions, PatchOptions, DeleteOptions.

use std::{
    collections::BTreeMap,
    num::{IntErrorKind, ParseIntError},
};

use crate::{
    field::{Errors, Path, Reason},
    request_info::is_true,
    status::{ApiError, GroupResource},
};

/// The parameters of a query.
#[derive(Clone, Debug, Default)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Parses a query string.
    pub fn parse(query: &str) -> Self {
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            map.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        Self(map)
    }

    /// The first value of a parameter; empty if absent.
    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).and_then(|v| v.first()).map_or("", String::as_str)
    }

    /// All values of a parameter.
    pub fn all(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Whether a parameter is there.
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A boolean, false if absent.
    pub fn flag(&self, key: &str) -> bool {
        self.0.get(key).and_then(|v| v.first()).is_some_and(|v| is_true(v))
    }

    /// An integer, if given. An empty one is none.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, ApiError> {
        if !self.has(key) {
            return Ok(None);
        }
        let text = self.get(key);
        text.parse().map(Some).map_err(|why| {
            ApiError::bad_request(format!("strconv.ParseInt: parsing {text:?}: {}", in_go(&why)))
        })
    }
}

/// A number without a sign, or what Go has against it.
pub fn unsigned(text: &str) -> Result<u64, String> {
    let number = if text.starts_with('+') { "+".parse() } else { text.parse() };
    number.map_err(|why| format!("strconv.ParseUint: parsing {text:?}: {}", in_go(&why)))
}

fn in_go(why: &ParseIntError) -> &'static str {
    match why.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

/// Checks `timeout`, which bounds all requests but those that last. It is a duration in Go's notation.
pub fn check_timeout(query: &Query) -> Result<(), ApiError> {
    let text = query.get("timeout");
    if text.is_empty() {
        return Ok(());
    }
    duration(text)
        .map_err(|why| ApiError::bad_request(format!("invalid timeout specified in the request URL - {why}")))
}

/// What is wrong with a duration such as `1h15m30.5s`.
pub fn duration(text: &str) -> Result<(), String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(());
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (amount, tail) = rest.split_at(number);
        if !amount.contains(|c: char| c.is_ascii_digit()) || amount.matches('.').count() > 1 {
            return Err(invalid());
        }
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        match unit {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" | "us" | "\u{b5}s" | "\u{3bc}s" | "ms" | "s" | "m" | "h" => {}
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        }
        rest = tail;
    }
    Ok(())
}

/// What to do about unknown and duplicate fields (`fieldValidation`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Drop them silently.
    Ignore,
    /// Drop them with a warning.
    #[default]
    Warn,
    /// Refuse them.
    Strict,
}

impl FieldValidation {
    /// That of one try of several: a later one must not repeat the warnings of the `first`.
    #[must_use]
    pub fn of_try(self, first: &mut bool) -> Self {
        if std::mem::take(first) || self == Self::Strict { self } else { Self::Ignore }
    }
}

/// The options of a write.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Nothing is stored (`dryRun=All`).
    pub dry_run: bool,
    /// On unknown fields.
    pub field_validation: FieldValidation,
    /// The field manager, from the query or else the user agent.
    pub manager: String,
    /// Take over fields of other managers (apply only).
    pub force: Option<bool>,
}

fn invalid(kind: &str, errors: &Errors) -> ApiError {
    ApiError::invalid(GroupResource { group: "meta.k8s.io", resource: kind }, "", errors)
}

impl WriteOptions {
    /// Reads the options of `kind` (`CreateOptions`, `UpdateOptions` or `PatchOptions`).
    pub fn read(query: &Query, user_agent: &str, kind: &str, apply: bool) -> Result<Self, ApiError> {
        let mut errors = Errors::default();
        let dry_run = query.all("dryRun");
        let mut options = Self { dry_run: !dry_run.is_empty(), ..Self::default() };
        let manager = query.get("fieldManager");
        let path = Path::new("fieldManager");
        if apply && manager.is_empty() {
            errors.required(&path, "is required for apply patch");
        }
        if query.has("force") {
            options.force = Some(query.flag("force"));
            if !apply && kind == "PatchOptions" {
                errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
            }
        }
        if manager.len() > 128 {
            errors.too_long(&path, 128);
        }
        if let Some((at, c)) = manager.char_indices().find(|(_, c)| !is_printable(*c)) {
            errors.push(
                &path,
                Reason::Invalid,
                format!(
                    "Invalid value: {}: invalid character U+{:04X} (at position {at})",
                    crate::field::quoted(manager),
                    c as u32
                ),
            );
        }
        check_dry_run(dry_run, &mut errors);
        options.field_validation = match query.get("fieldValidation") {
            "Ignore" => FieldValidation::Ignore,
            "" | "Warn" => FieldValidation::Warn,
            "Strict" => FieldValidation::Strict,
            other => {
                errors.not_supported(
                    &Path::new("fieldValidation"),
                    &other.into(),
                    &["", "Ignore", "Strict", "Warn"],
                );
                FieldValidation::Warn
            }
        };
        if !errors.is_empty() {
            return Err(invalid(kind, &errors));
        }
        options.manager = if manager.is_empty() { default_manager(user_agent) } else { manager.into() };
        Ok(options)
    }
}

fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_whitespace() || c.is_control())
}

fn check_dry_run(values: &[String], errors: &mut Errors) {
    if !values.is_empty() && values.iter().any(|v| v != "All") {
        let shown: Vec<String> = values.iter().map(|v| crate::field::quoted(v)).collect();
        errors.push(
            &Path::new("dryRun"),
            Reason::NotSupported,
            format!("Unsupported value: [{}]: supported values: \"All\"", shown.join(",")),
        );
    }
}

/// The manager of a client that names none: its user agent up to the first slash.
fn default_manager(user_agent: &str) -> String {
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > 128 {
            break;
        }
        name.push(c);
    }
    if name.is_empty() { "unknown".into() } else { name }
}

/// DeleteOptions, from the query and the body.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Nothing is stored.
    pub dry_run: bool,
    /// How long the object may take to stop.
    pub grace_period_seconds: Option<i64>,
    /// Only this uid.
    pub uid: Option<String>,
    /// Only this state.
    pub resource_version: Option<String>,
    /// What becomes of the dependents.
    pub propagation: Option<Propagation>,
    /// Delete even an object that cannot be read.
    pub ignore_store_read_error: bool,
}

/// What becomes of dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted first.
    Foreground,
    /// They are deleted afterwards.
    Background,
    /// They stay.
    Orphan,
}

impl DeleteOptions {
    /// Reads the query, which counts only when there is no body.
    pub fn from_query(query: &Query) -> Result<Self, ApiError> {
        let policy = query.has("propagationPolicy").then(|| query.get("propagationPolicy"));
        let orphan = query.has("orphanDependents").then(|| query.flag("orphanDependents"));
        let grace = query.integer("gracePeriodSeconds")?;
        let given = |key: &str| Some(query.get(key)).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        Ok(Self {
            uid: given("uid"),
            resource_version: given("resourceVersion"),
            ..Self::checked(grace, query.all("dryRun"), policy, orphan)?
        })
    }

    /// Reads a body.
    pub fn from_body(body: &serde_json::Value) -> Result<Self, ApiError> {
        let text = |pointer: &str| body.pointer(pointer).and_then(serde_json::Value::as_str);
        let dry_run: Vec<String> = body
            .get("dryRun")
            .and_then(serde_json::Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(serde_json::Value::as_str)
            .map(Into::into)
            .collect();
        let mut options = Self::checked(
            body.get("gracePeriodSeconds").and_then(serde_json::Value::as_i64),
            &dry_run,
            text("/propagationPolicy"),
            body.get("orphanDependents").and_then(serde_json::Value::as_bool),
        )?;
        options.uid = text("/preconditions/uid").map(Into::into);
        options.resource_version = text("/preconditions/resourceVersion").map(Into::into);
        Ok(options)
    }

    fn checked(
        grace_period_seconds: Option<i64>,
        dry_run: &[String],
        policy: Option<&str>,
        orphan: Option<bool>,
    ) -> Result<Self, ApiError> {
        let mut errors = Errors::default();
        let path = Path::new("propagationPolicy");
        if let (Some(policy), Some(_)) = (policy, orphan) {
            errors.invalid_str(&path, policy, "orphanDependents and deletionPropagation cannot be both set");
        }
        let propagation = match policy {
            None => orphan.map(|o| if o { Propagation::Orphan } else { Propagation::Background }),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Background") => Some(Propagation::Background),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                errors.not_supported(&path, &other.into(), &supported);
                None
            }
        };
        check_dry_run(dry_run, &mut errors);
        if !errors.is_empty() {
            return Err(invalid("DeleteOptions", &errors));
        }
        Ok(Self {
            dry_run: !dry_run.is_empty(),
            // A negative period means "at once" since 1.30.
            grace_period_seconds: grace_period_seconds.map(|s| if s < 0 { 1 } else { s }),
            propagation,
            ..Self::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_durations_of_go() {
        for text in ["timeout=30s", "timeout=1h15m30.5s", "timeout=0", "timeout="] {
            assert!(check_timeout(&Query::parse(text)).is_ok(), "{text}");
        }
        for (text, why) in [
            ("timeout=abc", "time: invalid duration \"abc\""),
            ("timeout=5", "time: missing unit in duration \"5\""),
            ("timeout=5x", "time: unknown unit \"x\" in duration \"5x\""),
        ] {
            let error = check_timeout(&Query::parse(text)).unwrap_err();
            assert_eq!(error.message, format!("invalid timeout specified in the request URL - {why}"));
        }
    }

    #[test]
    fn numbers_are_those_of_go() {
        for (text, why) in [
            ("limit=abc", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ("limit=", "strconv.ParseInt: parsing \"\": invalid syntax"),
            (
                "limit=99999999999999999999",
                "strconv.ParseInt: parsing \"99999999999999999999\": value out of range",
            ),
        ] {
            assert_eq!(Query::parse(text).integer("limit").unwrap_err().message, why);
        }
        assert_eq!(Query::parse("").integer("limit").unwrap(), None);
        assert_eq!(unsigned("7"), Ok(7));
        assert_eq!(unsigned("+7").unwrap_err(), "strconv.ParseUint: parsing \"+7\": invalid syntax");
        let why = "strconv.ParseUint: parsing \"18446744073709551616\": value out of range";
        assert_eq!(unsigned("18446744073709551616").unwrap_err(), why);
    }

    #[test]
    fn a_query_can_demand_the_object_that_is_deleted() {
        let options = DeleteOptions::from_query(&Query::parse("uid=a&resourceVersion=7")).unwrap();
        assert_eq!((options.uid.as_deref(), options.resource_version.as_deref()), (Some("a"), Some("7")));
        let both = Query::parse("propagationPolicy=x&orphanDependents=true");
        let errors = DeleteOptions::from_query(&both).unwrap_err();
        assert!(errors.message.contains("cannot be both set, propagationPolicy: Unsupported value: \"x\""));
    }

    #[test]
    fn a_manager_is_what_can_be_printed_of_the_client() {
        assert_eq!(default_manager("a\tb/1 (x)"), "ab");
        assert_eq!(default_manager(&"é".repeat(100)).len(), 128);
    }
}
