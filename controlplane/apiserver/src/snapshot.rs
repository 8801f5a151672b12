//! Snapshots: all objects of the cluster as of one revision, kept beside the store or handed out, and brought back.
//!
//! | request | does |
//! |---|---|
//! | `GET /vkube/snapshot` | hands out a snapshot of now |
//! | `PUT /vkube/snapshot` | brings the cluster to the state of the snapshot in the body; with `?once=WORD` unless that was done under this word |
//! | `GET /vkube/snapshots` | lists those that are kept |
//! | `POST /vkube/snapshots/NAME` | takes one and keeps it |
//! | `GET`, `DELETE /vkube/snapshots/NAME` | hands one out, or forgets it |
//!
//! These are non-resource URLs to RBAC: administrators reach them, and whom a ClusterRole names for them. A snapshot holds
//! every Secret of the cluster.

mod archive;
mod restore;
mod shelf;
#[cfg(test)]
mod tests;

use std::io;

use http::{HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use crate::{
    body::{self, Request, Response},
    options::Query,
    respond,
    server::Server,
    status::ApiError,
};

pub use shelf::Shelf;

const MEDIA_TYPE: &str = "application/gzip";

/// Why a snapshot cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is cut off, damaged, or something else.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line} is not that of a snapshot")]
    Line {
        /// Which, counted from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// It is of a release that this one does not know.
    #[error("it has format {0}, this release reads 1")]
    Format(u32),
}

/// Answers what is below `/vkube/`.
pub async fn serve(
    server: &Server,
    request: &mut Request,
    segments: &[&str],
    query: &Query,
) -> Result<Response, ApiError> {
    let method = request.method().clone();
    match (method, segments) {
        (Method::GET, ["snapshot"]) => Ok(archive(body::stream(archive::pack(server.store())))),
        (Method::PUT, ["snapshot"]) => {
            let body = std::mem::replace(request.body_mut(), body::empty());
            answer(StatusCode::OK, &restore::restore(server, body, query.get("once")).await?)
        }
        (Method::GET, ["snapshots"]) => answer(StatusCode::OK, &shelf(server)?.list().await?),
        (Method::POST, ["snapshots", name]) => {
            let taken = shelf(server)?.take(name, archive::pack(server.store())).await?;
            answer(StatusCode::CREATED, &taken)
        }
        (Method::GET, ["snapshots", name]) => Ok(archive(shelf(server)?.open(name).await?)),
        (Method::DELETE, ["snapshots", name]) => {
            shelf(server)?.remove(name).await?;
            Ok(respond::text(StatusCode::OK, "ok"))
        }
        (_, ["snapshot"] | ["snapshots"] | ["snapshots", _]) => Err(ApiError::method_not_allowed()),
        _ => Ok(respond::page_not_found()),
    }
}

fn shelf(server: &Server) -> Result<&Shelf, ApiError> {
    let without = || ApiError::bad_request("this server keeps nothing on disk, so also no snapshots");
    server.parts.snapshots.as_ref().ok_or_else(without)
}

fn archive(body: body::Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    response
}

fn answer(code: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(value).map_err(ApiError::internal)?;
    Ok(respond::bytes(code, "application/json", bytes))
}
