//! What a request's line and headers say.

use arbitrary::Unstructured;
use http::{HeaderMap, HeaderValue, Method, header};
use vkube_apiserver::{
    negotiation,
    options::{DeleteOptions, Query, WriteOptions, check_timeout},
    request_info::RequestInfo,
};

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    let mut u = Unstructured::new(data);
    let Ok((path, query)) = u.arbitrary::<(String, String)>() else { return };
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
        RequestInfo::new(&method, &format!("/{path}"), &query).is_lasting();
    }
    let query = Query::parse(&query);
    let _ = (check_timeout(&query), DeleteOptions::from_query(&query));
    let _ = WriteOptions::read(&query, &path, "PatchOptions", true);
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(u.take_rest()) {
        headers.insert(header::ACCEPT, value.clone());
        headers.insert(header::CONTENT_TYPE, value);
    }
    negotiation::encoding(&query, &headers);
    negotiation::is_pretty(&query, &headers);
    let _ = negotiation::content_type(&headers, true);
}
