//! The functions of expressions: CEL's own, its extensions, and those of Kubernetes
//! (<https://kubernetes.io/docs/reference/using-api/cel/>).

mod addresses;
pub mod arithmetic;
mod conversions;
mod formats;
mod lists;
mod net;
mod optional;
mod quantities;
pub mod semver;
pub mod strings;
pub mod times;

use super::{Error, value::Value};

/// The names of types, which are values.
pub const TYPES: &[&str] = &[
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
    "optional_type",
];

type Library = for<'a> fn(&str, &[Value<'a>]) -> Option<Result<Value<'a>, Error>>;

/// Each knows some functions and the values that they take; the first that does answers.
const LIBRARIES: &[Library] = &[
    conversions::call,
    strings::call,
    lists::call,
    times::call,
    optional::call,
    quantities::call,
    net::call,
    semver::call,
    formats::call,
];

/// The names of all functions, sorted.
const NAMES: &[&str] = &[
    "@sortByAssociatedKeys",
    "add",
    "allowed",
    "asApproximateFloat",
    "asInteger",
    "bool",
    "bytes",
    "charAt",
    "check",
    "cidr",
    "compareTo",
    "contains",
    "containsCIDR",
    "containsIP",
    "distinct",
    "double",
    "duration",
    "dyn",
    "endsWith",
    "error",
    "errored",
    "family",
    "fieldSelector",
    "find",
    "findAll",
    "first",
    "flatten",
    "format",
    "format.dns1035Label",
    "format.dns1035LabelPrefix",
    "format.dns1123Label",
    "format.dns1123LabelPrefix",
    "format.dns1123Subdomain",
    "format.dns1123SubdomainPrefix",
    "format.byte",
    "format.date",
    "format.datetime",
    "format.labelValue",
    "format.named",
    "format.qualifiedName",
    "format.uri",
    "format.uuid",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getEscapedPath",
    "getFullYear",
    "getHost",
    "getHostname",
    "getHours",
    "getMilliseconds",
    "getMinutes",
    "getMonth",
    "getPort",
    "getQuery",
    "getScheme",
    "getSeconds",
    "group",
    "hasValue",
    "indexOf",
    "int",
    "ip",
    "ip.isCanonical",
    "isCIDR",
    "isGlobalUnicast",
    "isGreaterThan",
    "isIP",
    "isInteger",
    "isLessThan",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isLoopback",
    "isQuantity",
    "isSemver",
    "isSorted",
    "isURL",
    "isUnspecified",
    "join",
    "jsonpatch.escapeKey",
    "labelSelector",
    "last",
    "lastIndexOf",
    "lists.range",
    "lowerAscii",
    "major",
    "masked",
    "matches",
    "max",
    "min",
    "minor",
    "name",
    "namespace",
    "optional.none",
    "optional.of",
    "optional.ofNonZeroValue",
    "optional.unwrap",
    "or",
    "orValue",
    "patch",
    "path",
    "prefixLength",
    "quantity",
    "reason",
    "replace",
    "resource",
    "reverse",
    "semver",
    "serviceAccount",
    "sets.contains",
    "sets.equivalent",
    "sets.intersects",
    "sign",
    "size",
    "slice",
    "sort",
    "split",
    "startsWith",
    "string",
    "strings.quote",
    "sub",
    "subresource",
    "substring",
    "sum",
    "timestamp",
    "trim",
    "type",
    "uint",
    "unwrapOpt",
    "upperAscii",
    "url",
    "validate",
    "value",
];

/// Whether any library has a function of this name.
pub fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Calls a function. The target of a method is its first argument.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Result<Value<'a>, Error> {
    if let [Value::Foreign(target), arguments @ ..] = arguments {
        return target.call(function, arguments).unwrap_or(Err(Error::NoSuchOverload));
    }
    match LIBRARIES.iter().find_map(|library| library(function, arguments)) {
        None | Some(Err(Error::NoSuchOverload)) => Err(Error::mismatch(function, arguments)),
        Some(result) => result,
    }
}
