//! Addresses, CIDRs and URLs.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;

use super::super::{
    Error,
    value::{Cidr, Value},
};
use crate::custom::uri::{self, Uri};

/// The functions of this library.
pub fn call<'a>(function: &str, arguments: &[Value<'a>]) -> Option<Result<Value<'a>, Error>> {
    let bool = |b| Ok(Value::Bool(b));
    let text = |text: &str| Ok(Value::text(text.to_owned()));
    Some(match (function, arguments) {
        ("ip", [Value::Text(text)]) => address(text).map(Value::Ip),
        ("isIP", [Value::Text(text)]) => bool(address(text).is_ok()),
        ("ip.isCanonical", [Value::Text(text)]) => {
            address(text).map(|address| Value::Bool(address.to_string() == **text))
        }
        ("family", [Value::Ip(address)]) => Ok(Value::Int(if address.is_ipv4() { 4 } else { 6 })),
        ("isUnspecified", [Value::Ip(address)]) => bool(address.is_unspecified()),
        ("isLoopback", [Value::Ip(address)]) => bool(address.is_loopback()),
        ("isLinkLocalMulticast", [Value::Ip(address)]) => bool(match address {
            IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
            IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
        }),
        ("isLinkLocalUnicast", [Value::Ip(address)]) => bool(is_link_local(address)),
        ("isGlobalUnicast", [Value::Ip(address)]) => bool(
            !address.is_unspecified()
                && !address.is_loopback()
                && !address.is_multicast()
                && !is_link_local(address)
                && *address != IpAddr::from([255, 255, 255, 255]),
        ),
        ("cidr", [Value::Text(text)]) => cidr(text).map(Value::Cidr),
        ("isCIDR", [Value::Text(text)]) => bool(cidr(text).is_ok()),
        ("containsIP", [Value::Cidr(cidr), Value::Ip(address)]) => bool(cidr.network.contains(address)),
        ("containsIP", [Value::Cidr(cidr), Value::Text(text)]) => {
            address(text).map(|address| Value::Bool(cidr.network.contains(&address)))
        }
        ("containsCIDR", [Value::Cidr(outer), Value::Cidr(inner)]) => bool(covers(outer, inner)),
        ("containsCIDR", [Value::Cidr(outer), Value::Text(text)]) => {
            cidr(text).map(|inner| Value::Bool(covers(outer, &inner)))
        }
        ("ip", [Value::Cidr(cidr)]) => Ok(Value::Ip(cidr.address)),
        ("masked", [Value::Cidr(cidr)]) => {
            Ok(Value::Cidr(Cidr { address: cidr.network.network(), network: cidr.network }))
        }
        ("prefixLength", [Value::Cidr(cidr)]) => Ok(Value::Int(i64::from(cidr.network.prefix_len()))),
        ("url", [Value::Text(text)]) => match uri::parse_request(text) {
            Some(uri) => Ok(Value::Url(Arc::new(uri))),
            None => Err(Error::other(format!(
                "URL parse error during conversion from string: parse {text:?}: invalid URI for request"
            ))),
        },
        ("isURL", [Value::Text(text)]) => bool(uri::parse_request(text).is_some()),
        ("getScheme", [Value::Url(uri)]) => text(&uri.scheme),
        ("getHost", [Value::Url(uri)]) => text(&uri.host),
        ("getHostname", [Value::Url(uri)]) => text(uri.hostname()),
        ("getPort", [Value::Url(uri)]) => text(uri.port()),
        ("getEscapedPath", [Value::Url(uri)]) => text(&uri.escaped_path),
        ("getQuery", [Value::Url(uri)]) => Ok(query(uri)),
        _ => return None,
    })
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

/// Addresses are read strictly: no leading zeros, no zones, no IPv4 inside of IPv6.
fn address(text: &str) -> Result<IpAddr, Error> {
    let parsed: IpAddr = text
        .parse()
        .map_err(|_| Error::other(format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP")))?;
    match parsed {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(Error::other(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        parsed => Ok(parsed),
    }
}

fn cidr(text: &str) -> Result<Cidr, Error> {
    let failed = || {
        Error::other(format!(
            "network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix({text:?}): no '/'"
        ))
    };
    let (ip, prefix) = text.split_once('/').ok_or_else(failed)?;
    let address = address(ip)?;
    let strict = prefix.bytes().all(|c| c.is_ascii_digit()) && (prefix == "0" || !prefix.starts_with('0'));
    let length = prefix.parse().ok().filter(|_| strict);
    let network = length.and_then(|length| IpNet::new(address, length).ok()).ok_or_else(|| {
        Error::other(format!("network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix({text:?}): bad bits after slash: {prefix:?}"))
    })?;
    Ok(Cidr { address, network: network.trunc() })
}

fn covers(outer: &Cidr, inner: &Cidr) -> bool {
    outer.network.contains(&inner.network.network())
        && outer.network.prefix_len() <= inner.network.prefix_len()
}

fn query<'a>(uri: &Uri) -> Value<'a> {
    let entries = uri.query_values().into_iter().map(|(key, values)| {
        let values = values.into_iter().map(Value::text).collect();
        (Value::text(key), Value::list(values))
    });
    Value::Map(entries.collect())
}
