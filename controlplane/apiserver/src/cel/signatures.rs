//! What functions take and give, and what objects have fields.

use super::{functions, types::Type};

/// The signatures of functions: `(a, b) r` for plain calls, `t.(a) r` for methods. A function that is not
/// here takes anything.
const SIGNATURES: &[(&str, &[&str])] = &[
    ("!_", &["(bool) bool"]),
    ("-_", &["(int) int", "(double) double"]),
    (
        "_+_",
        &[
            "(int, int) int",
            "(uint, uint) uint",
            "(double, double) double",
            "(string, string) string",
            "(bytes, bytes) bytes",
            "(list(A), list(A)) list(A)",
            "(duration, duration) duration",
            "(timestamp, duration) timestamp",
            "(duration, timestamp) timestamp",
        ],
    ),
    (
        "_-_",
        &[
            "(int, int) int",
            "(uint, uint) uint",
            "(double, double) double",
            "(duration, duration) duration",
            "(timestamp, duration) timestamp",
            "(timestamp, timestamp) duration",
        ],
    ),
    ("_*_", &["(int, int) int", "(uint, uint) uint", "(double, double) double"]),
    ("_/_", &["(int, int) int", "(uint, uint) uint", "(double, double) double"]),
    ("_%_", &["(int, int) int", "(uint, uint) uint"]),
    ("_==_", &["(A, A) bool"]),
    ("_!=_", &["(A, A) bool"]),
    ("@in", &["(A, list(A)) bool", "(A, map(A, B)) bool"]),
    (
        "_[_]",
        &[
            "(list(A), int) A",
            "(map(A, B), A) B",
            "(optional(list(A)), int) optional(A)",
            "(optional(map(A, B)), A) optional(B)",
        ],
    ),
    (
        "_[?_]",
        &[
            "(list(A), int) optional(A)",
            "(map(A, B), A) optional(B)",
            "(optional(list(A)), int) optional(A)",
            "(optional(map(A, B)), A) optional(B)",
        ],
    ),
    ("_?_:_", &["(bool, A, A) A"]),
    ("_&&_", &["(bool, bool) bool"]),
    ("_||_", &["(bool, bool) bool"]),
    ("_<_", ORDERED),
    ("_<=_", ORDERED),
    ("_>_", ORDERED),
    ("_>=_", ORDERED),
    (
        "size",
        &[
            "(string) int",
            "(bytes) int",
            "(list(A)) int",
            "(map(A, B)) int",
            "string.() int",
            "bytes.() int",
            "list(A).() int",
            "map(A, B).() int",
        ],
    ),
    ("type", &["(A) type(A)"]),
    ("dyn", &["(A) dyn"]),
    (
        "int",
        &["(int) int", "(uint) int", "(double) int", "(string) int", "(timestamp) int", "(duration) int"],
    ),
    ("uint", &["(uint) uint", "(int) uint", "(double) uint", "(string) uint"]),
    ("double", &["(double) double", "(int) double", "(uint) double", "(string) double"]),
    ("bool", &["(bool) bool", "(string) bool"]),
    (
        "string",
        &[
            "(string) string",
            "(bool) string",
            "(int) string",
            "(uint) string",
            "(double) string",
            "(bytes) string",
            "(timestamp) string",
            "(duration) string",
            "(net.IP) string",
            "(net.CIDR) string",
        ],
    ),
    ("bytes", &["(bytes) bytes", "(string) bytes"]),
    ("duration", &["(string) duration", "(duration) duration", "(int) duration"]),
    ("timestamp", &["(string) timestamp", "(timestamp) timestamp", "(int) timestamp"]),
    ("contains", &["string.(string) bool"]),
    ("startsWith", &["string.(string) bool"]),
    ("endsWith", &["string.(string) bool"]),
    ("matches", &["string.(string) bool", "(string, string) bool"]),
    ("find", &["string.(string) string"]),
    ("findAll", &["string.(string) list(string)", "string.(string, int) list(string)"]),
    ("charAt", &["string.(int) string"]),
    ("indexOf", &["string.(string) int", "string.(string, int) int", "list(A).(A) int"]),
    ("lastIndexOf", &["string.(string) int", "string.(string, int) int", "list(A).(A) int"]),
    ("join", &["list(string).() string", "list(string).(string) string"]),
    ("lowerAscii", &["string.() string"]),
    ("upperAscii", &["string.() string"]),
    ("trim", &["string.() string"]),
    ("replace", &["string.(string, string) string", "string.(string, string, int) string"]),
    ("split", &["string.(string) list(string)", "string.(string, int) list(string)"]),
    ("substring", &["string.(int) string", "string.(int, int) string"]),
    ("strings.quote", &["(string) string"]),
    ("format", &["string.(list(dyn)) string"]),
    ("jsonpatch.escapeKey", &["(string) string"]),
    ("getFullYear", PART_OF_TIME),
    ("getMonth", PART_OF_TIME),
    ("getDate", PART_OF_TIME),
    ("getDayOfMonth", PART_OF_TIME),
    ("getDayOfWeek", PART_OF_TIME),
    ("getDayOfYear", PART_OF_TIME),
    ("getHours", PART_OF_ANY_TIME),
    ("getMinutes", PART_OF_ANY_TIME),
    ("getSeconds", PART_OF_ANY_TIME),
    ("getMilliseconds", PART_OF_ANY_TIME),
    ("optional.of", &["(A) optional(A)"]),
    ("optional.ofNonZeroValue", &["(A) optional(A)"]),
    ("optional.none", &["() optional(A)"]),
    ("hasValue", &["optional(A).() bool"]),
    ("value", &["optional(A).() A"]),
    ("or", &["optional(A).(optional(A)) optional(A)"]),
    ("orValue", &["optional(A).(A) A"]),
    ("sets.contains", &["(list(A), list(A)) bool"]),
    ("sets.equivalent", &["(list(A), list(A)) bool"]),
    ("sets.intersects", &["(list(A), list(A)) bool"]),
    (
        "isSorted",
        &[
            "list(int).() bool",
            "list(uint).() bool",
            "list(double).() bool",
            "list(bool).() bool",
            "list(duration).() bool",
            "list(timestamp).() bool",
            "list(string).() bool",
            "list(bytes).() bool",
        ],
    ),
    (
        "sum",
        &["list(int).() int", "list(uint).() uint", "list(double).() double", "list(duration).() duration"],
    ),
    ("min", EXTREME),
    ("max", EXTREME),
    ("distinct", &["list(A).() list(A)"]),
    ("reverse", &["list(A).() list(A)"]),
    ("slice", &["list(A).(int, int) list(A)"]),
    (
        "sort",
        &[
            "list(int).() list(int)",
            "list(uint).() list(uint)",
            "list(double).() list(double)",
            "list(bool).() list(bool)",
            "list(duration).() list(duration)",
            "list(timestamp).() list(timestamp)",
            "list(string).() list(string)",
            "list(bytes).() list(bytes)",
        ],
    ),
    (
        "@sortByAssociatedKeys",
        &[
            "list(A).(list(int)) list(A)",
            "list(A).(list(uint)) list(A)",
            "list(A).(list(double)) list(A)",
            "list(A).(list(bool)) list(A)",
            "list(A).(list(duration)) list(A)",
            "list(A).(list(timestamp)) list(A)",
            "list(A).(list(string)) list(A)",
            "list(A).(list(bytes)) list(A)",
        ],
    ),
    ("first", &["list(A).() optional(A)"]),
    ("last", &["list(A).() optional(A)"]),
    ("optional.unwrap", &["(list(optional(A))) list(A)"]),
    ("unwrapOpt", &["list(optional(A)).() list(A)"]),
    ("flatten", &["list(list(A)).() list(A)", "list(dyn).(int) list(dyn)"]),
    ("lists.range", &["(int) list(int)"]),
    ("ip.isCanonical", &["(string) bool"]),
    ("url", &["(string) kubernetes.URL"]),
    ("isURL", &["(string) bool"]),
    ("getScheme", OF_URL),
    ("getHost", OF_URL),
    ("getHostname", OF_URL),
    ("getPort", OF_URL),
    ("getEscapedPath", OF_URL),
    ("getQuery", &["kubernetes.URL.() map(string, list(string))"]),
    ("quantity", &["(string) kubernetes.Quantity"]),
    ("isQuantity", &["(string) bool"]),
    ("sign", &["(kubernetes.Quantity) int"]),
    ("isInteger", &["kubernetes.Quantity.() bool"]),
    ("asInteger", &["kubernetes.Quantity.() int"]),
    ("asApproximateFloat", &["kubernetes.Quantity.() double"]),
    ("add", SUM_OF_QUANTITIES),
    ("sub", SUM_OF_QUANTITIES),
    ("isGreaterThan", COMPARED),
    ("isLessThan", COMPARED),
    (
        "compareTo",
        &["kubernetes.Quantity.(kubernetes.Quantity) int", "kubernetes.Semver.(kubernetes.Semver) int"],
    ),
    ("semver", &["(string) kubernetes.Semver", "(string, bool) kubernetes.Semver"]),
    ("isSemver", &["(string) bool", "(string, bool) bool"]),
    ("major", &["kubernetes.Semver.() int"]),
    ("minor", &["kubernetes.Semver.() int"]),
    ("patch", &["kubernetes.Semver.() int"]),
    ("ip", &["(string) net.IP", "net.CIDR.() net.IP"]),
    ("isIP", &["(string) bool"]),
    ("family", &["net.IP.() int"]),
    ("isUnspecified", OF_IP),
    ("isLoopback", OF_IP),
    ("isLinkLocalMulticast", OF_IP),
    ("isLinkLocalUnicast", OF_IP),
    ("isGlobalUnicast", OF_IP),
    ("cidr", &["(string) net.CIDR"]),
    ("isCIDR", &["(string) bool"]),
    ("containsIP", &["net.CIDR.(net.IP) bool", "net.CIDR.(string) bool"]),
    ("containsCIDR", &["net.CIDR.(net.CIDR) bool", "net.CIDR.(string) bool"]),
    ("masked", &["net.CIDR.() net.CIDR"]),
    ("prefixLength", &["net.CIDR.() int"]),
    ("validate", &["kubernetes.NamedFormat.(string) optional(list(string))"]),
    ("format.named", &["(string) optional(kubernetes.NamedFormat)"]),
    ("path", &["kubernetes.authorization.Authorizer.(string) kubernetes.authorization.PathCheck"]),
    ("group", &["kubernetes.authorization.Authorizer.(string) kubernetes.authorization.GroupCheck"]),
    (
        "serviceAccount",
        &["kubernetes.authorization.Authorizer.(string, string) kubernetes.authorization.Authorizer"],
    ),
    ("resource", &["kubernetes.authorization.GroupCheck.(string) kubernetes.authorization.ResourceCheck"]),
    ("subresource", NARROWED),
    ("namespace", NARROWED),
    ("name", NARROWED),
    ("fieldSelector", NARROWED),
    ("labelSelector", NARROWED),
    (
        "check",
        &[
            "kubernetes.authorization.PathCheck.(string) kubernetes.authorization.Decision",
            "kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.Decision",
        ],
    ),
    ("allowed", &["kubernetes.authorization.Decision.() bool"]),
    ("errored", &["kubernetes.authorization.Decision.() bool"]),
    ("reason", &["kubernetes.authorization.Decision.() string"]),
    ("error", &["kubernetes.authorization.Decision.() string"]),
];

/// Numbers are compared whatever their types.
const ORDERED: &[&str] = &[
    "(bool, bool) bool",
    "(int, int) bool",
    "(int, uint) bool",
    "(int, double) bool",
    "(uint, int) bool",
    "(uint, uint) bool",
    "(uint, double) bool",
    "(double, int) bool",
    "(double, uint) bool",
    "(double, double) bool",
    "(string, string) bool",
    "(bytes, bytes) bool",
    "(timestamp, timestamp) bool",
    "(duration, duration) bool",
];
const EXTREME: &[&str] = &[
    "list(int).() int",
    "list(uint).() uint",
    "list(double).() double",
    "list(bool).() bool",
    "list(duration).() duration",
    "list(timestamp).() timestamp",
    "list(string).() string",
    "list(bytes).() bytes",
];
const PART_OF_TIME: &[&str] = &["timestamp.() int", "timestamp.(string) int"];
const PART_OF_ANY_TIME: &[&str] = &["timestamp.() int", "timestamp.(string) int", "duration.() int"];
const OF_URL: &[&str] = &["kubernetes.URL.() string"];
const OF_IP: &[&str] = &["net.IP.() bool"];
const SUM_OF_QUANTITIES: &[&str] = &[
    "kubernetes.Quantity.(kubernetes.Quantity) kubernetes.Quantity",
    "kubernetes.Quantity.(int) kubernetes.Quantity",
];
const COMPARED: &[&str] =
    &["kubernetes.Quantity.(kubernetes.Quantity) bool", "kubernetes.Semver.(kubernetes.Semver) bool"];
const NARROWED: &[&str] =
    &["kubernetes.authorization.ResourceCheck.(string) kubernetes.authorization.ResourceCheck"];

/// The fields of objects that have declared ones.
const FIELDS: &[(&str, &[(&str, &str)])] = &[
    (
        "kubernetes.AdmissionRequest",
        &[
            ("kind", "kubernetes.GroupVersionKind"),
            ("resource", "kubernetes.GroupVersionResource"),
            ("subResource", "string"),
            ("requestKind", "kubernetes.GroupVersionKind"),
            ("requestResource", "kubernetes.GroupVersionResource"),
            ("requestSubResource", "string"),
            ("name", "string"),
            ("namespace", "string"),
            ("operation", "string"),
            ("userInfo", "kubernetes.UserInfo"),
            ("dryRun", "bool"),
            ("options", "dyn"),
        ],
    ),
    ("kubernetes.GroupVersionKind", &[("group", "string"), ("version", "string"), ("kind", "string")]),
    (
        "kubernetes.GroupVersionResource",
        &[("group", "string"), ("version", "string"), ("resource", "string")],
    ),
    (
        "kubernetes.UserInfo",
        &[
            ("username", "string"),
            ("uid", "string"),
            ("groups", "list(string)"),
            ("extra", "map(string, list(string))"),
        ],
    ),
    (
        "kubernetes.Namespace",
        &[
            ("metadata", "kubernetes.NamespaceMetadata"),
            ("spec", "kubernetes.NamespaceSpec"),
            ("status", "kubernetes.NamespaceStatus"),
        ],
    ),
    (
        "kubernetes.NamespaceMetadata",
        &[
            ("name", "string"),
            ("generateName", "string"),
            ("namespace", "string"),
            ("labels", "map(string, string)"),
            ("annotations", "map(string, string)"),
            ("UID", "string"),
            ("creationTimestamp", "timestamp"),
            ("deletionGracePeriodSeconds", "int"),
            ("deletionTimestamp", "timestamp"),
            ("generation", "int"),
            ("resourceVersion", "string"),
            ("finalizers", "list(string)"),
        ],
    ),
    ("kubernetes.NamespaceSpec", &[("finalizers", "list(string)")]),
    (
        "kubernetes.NamespaceStatus",
        &[("conditions", "list(kubernetes.NamespaceCondition)"), ("phase", "string")],
    ),
    (
        "kubernetes.NamespaceCondition",
        &[
            ("status", "string"),
            ("type", "string"),
            ("lastTransitionTime", "timestamp"),
            ("message", "string"),
            ("reason", "string"),
        ],
    ),
    ("kubernetes.authorization.Authorizer", &[]),
    (
        "kubernetes.DRADevice",
        &[
            ("driver", "string"),
            ("attributes", "map(string, map(string, dyn))"),
            ("capacity", "map(string, map(string, kubernetes.Quantity))"),
            ("allowMultipleAllocations", "bool"),
        ],
    ),
    ("JSONPatch", &[("op", "string"), ("path", "string"), ("from", "string"), ("value", "dyn")]),
];

/// The type of a field; `None` if objects of this type have no such field.
pub fn field(object: &str, name: &str) -> Option<Type> {
    match FIELDS.iter().find(|(known, _)| *known == object) {
        Some((_, fields)) => fields.iter().find(|(field, _)| *field == name).map(|(_, ty)| Type::read(ty)),
        // Objects that expressions make have any field.
        None if object == "Object" || object.starts_with("Object.") => Some(Type::Dyn),
        None => None,
    }
}

/// What a call gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A value of this type.
    Gives(Type),
    /// There is no such function.
    Unknown,
    /// It takes something else.
    Mismatch,
}

/// What a function gives for these arguments; the target of a method is the first.
pub fn call(function: &str, method: bool, arguments: &[Type]) -> Outcome {
    if function.starts_with("format.") && arguments.is_empty() && functions::is_known(function) {
        return Outcome::Gives(Type::Named("kubernetes.NamedFormat".into()));
    }
    let Some((_, signatures)) = SIGNATURES.iter().find(|(name, _)| *name == function) else {
        return if functions::is_known(function) { Outcome::Gives(Type::Dyn) } else { Outcome::Unknown };
    };
    let results = signatures.iter().filter_map(|signature| matched(signature, method, arguments));
    match results.reduce(|found, result| found.join(&result)) {
        Some(result) => Outcome::Gives(result),
        None => Outcome::Mismatch,
    }
}

/// The result of a signature that fits.
fn matched(signature: &str, method: bool, arguments: &[Type]) -> Option<Type> {
    let (target, rest) = match signature.split_once(".(") {
        Some((target, rest)) if !signature.starts_with('(') => (Some(target), rest),
        _ => (None, signature.strip_prefix('(')?),
    };
    if target.is_some() != method {
        return None;
    }
    let (parameters, result) = balanced(rest)?;
    let mut wanted: Vec<Type> = target.into_iter().map(Type::read).collect();
    wanted.extend(split(parameters).into_iter().map(Type::read));
    let mut open = Vec::new();
    let fits = wanted.len() == arguments.len()
        && wanted.iter().zip(arguments).all(|(wanted, argument)| argument.fits(wanted, &mut open));
    fits.then(|| Type::read(result).filled(&open))
}

/// Parameters and result, at the parenthesis that closes the parameters.
fn balanced(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&text[..at], text[at + 1..].trim_start())),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The parameters of a list; commas inside of parentheses do not count.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text.is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}
