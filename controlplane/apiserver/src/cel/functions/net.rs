//! Addresses, CIDRs and URLs.

use std::{net::IpAddr, sync::Arc};

use super::{
    super::{
        Error,
        value::{Cidr, Value},
    },
    addresses::{self, Zoned},
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
            None => {
                let why = uri::refusal(text);
                Err(Error::other(format!("URL parse error during conversion from string: {why}")))
            }
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
    match addresses::parse(text) {
        Err(why) => {
            Err(Error::other(format!("IP Address {text:?} parse error during conversion from string: {why}")))
        }
        Ok(Zoned { zone: true, .. }) => {
            Err(Error::other(format!("IP address {text:?} with zone value is not allowed")))
        }
        Ok(Zoned { address, .. }) => unmapped(address, text),
    }
}

fn unmapped(address: IpAddr, text: &str) -> Result<IpAddr, Error> {
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(Error::other(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        address => Ok(address),
    }
}

fn cidr(text: &str) -> Result<Cidr, Error> {
    let prefix = addresses::parse_prefix(text).map_err(|why| {
        let parsing = "network address parse error during conversion from string";
        Error::other(format!("{parsing}: {parsing}: {why}"))
    })?;
    let mapped = |error: Error| {
        Error::other(format!("network address parse error during conversion from string: {error}"))
    };
    let address = unmapped(prefix.addr(), text).map_err(mapped)?;
    Ok(Cidr { address, network: prefix.trunc() })
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
