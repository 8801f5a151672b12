//! The form of a snapshot: gzip of lines of JSON, the first of which says what it is, every other one an object.
//!
//! gzip ends with a checksum and a length, so what is cut off or damaged is known for that.

use std::io::{BufRead, BufReader, Read, Write};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures::{Stream, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vkube_store::{Document, Entry, Part, Store};

use super::Error;
use crate::body::BoxError;

/// Raised when what [`Line`] holds means something else.
const FORMAT: u32 = 1;

/// Where objects are in the store; beside them are keys of the server itself, which are never handed out.
pub(super) const OBJECTS: &str = "/registry/";

/// What belongs to the host or to a moment, and is neither kept nor brought back.
const PASSING: [&str; 8] = [
    "/registry/events/",
    "/registry/leases/",
    "/registry/nodes/",
    "/registry/csinodes/",
    "/registry/csistoragecapacities/",
    "/registry/volumeattachments/",
    "/registry/persistentvolumes/",
    "/registry/resourceslices/",
];

/// What every server has of its own: the way to itself, and whom it trusts.
const OWN: [&str; 7] = [
    "/registry/services/default/kubernetes",
    "/registry/services/kube-system/kube-dns",
    "/registry/endpoints/default/kubernetes",
    "/registry/endpoints/kube-system/kube-dns",
    "/registry/endpointslices/default/kubernetes",
    "/registry/endpointslices/kube-system/kube-dns",
    "/registry/configmaps/kube-system/extension-apiserver-authentication",
];

/// Whether a key is part of snapshots.
pub(super) fn is_kept(key: &str) -> bool {
    key.starts_with(OBJECTS) && !OWN.contains(&key) && !PASSING.iter().any(|passing| key.starts_with(passing))
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    revision: u64,
    taken: jiff::Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Line<'a> {
    key: &'a str,
    /// What selectors need to know of the object, in base64.
    index: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// An object of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) key: String,
    pub(super) uid: String,
    pub(super) document: Document,
}

/// What is read of an object to find its identity, and the place of its revision.
#[derive(Deserialize)]
struct Shallow<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(default)]
    uid: String,
    #[serde(borrow)]
    resource_version: Option<&'a RawValue>,
}

/// The objects of a store as of now, packed while they are read.
pub(super) fn pack(store: &dyn Store) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + use<> {
    let packer = Some((GzEncoder::new(Vec::new(), Compression::fast()), false));
    let state = (store.parts(OBJECTS, None), packer);
    stream::try_unfold(state, |(mut parts, packer)| async move {
        let Some((mut encoder, begun)) = packer else { return Ok(None) };
        let part = parts.try_next().await?.ok_or("the store ended in the middle")?;
        if !begun {
            let head = Head { format: FORMAT, revision: part.revision, taken: jiff::Timestamp::now() };
            write(&mut encoder, &head)?;
        }
        for entry in part.entries.iter().filter(|entry| is_kept(&entry.key)) {
            let object = serde_json::from_slice::<&RawValue>(&entry.value)?;
            let line = Line { key: &entry.key, index: STANDARD.encode(&entry.index), object };
            write(&mut encoder, &line)?;
        }
        if part.is_last {
            return Ok(Some((Bytes::from(encoder.finish()?), (parts, None))));
        }
        let chunk = std::mem::take(encoder.get_mut());
        Ok::<_, BoxError>(Some((Bytes::from(chunk), (parts, Some((encoder, true))))))
    })
}

fn write(encoder: &mut GzEncoder<Vec<u8>>, line: &impl Serialize) -> Result<(), BoxError> {
    serde_json::to_writer(&mut *encoder, line)?;
    Ok(encoder.write_all(b"\n")?)
}

/// The objects of a snapshot.
pub(super) fn unpack(packed: impl Read) -> Result<Vec<Item>, Error> {
    let mut lines = BufReader::new(GzDecoder::new(packed));
    let (mut text, mut number, mut items) = (String::new(), 0, Vec::new());
    while lines.read_line(&mut text)? > 0 {
        number += 1;
        let amiss = |source| Error::Line { line: number, source };
        if number == 1 {
            let head: Head = serde_json::from_str(&text).map_err(amiss)?;
            if head.format != FORMAT {
                return Err(Error::Format(head.format));
            }
        } else {
            items.extend(item(&text).map_err(amiss)?);
        }
        text.clear();
    }
    if number == 0 {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(items)
}

fn item(text: &str) -> Result<Option<Item>, serde_json::Error> {
    let line: Line<'_> = serde_json::from_str(text)?;
    let index = STANDARD.decode(&line.index).map_err(serde::de::Error::custom)?;
    let (uid, bytes, revision_at) = without_revision(line.object.get())?;
    let document = Document { bytes: bytes.into(), revision_at, index: index.into() };
    Ok(is_kept(line.key).then(|| Item { key: line.key.to_owned(), uid, document }))
}

/// The object of an entry, as [`item`] reads it.
pub(super) fn identity(entry: &Entry) -> Result<(String, Vec<u8>), serde_json::Error> {
    let text = std::str::from_utf8(&entry.value).map_err(serde::de::Error::custom)?;
    without_revision(text).map(|(uid, bytes, _)| (uid, bytes))
}

/// An object's UID, its document without the revision, and where that goes.
fn without_revision(object: &str) -> Result<(String, Vec<u8>, Option<u32>), serde_json::Error> {
    let Shallow { metadata } = serde_json::from_str(object)?;
    let mut bytes = object.as_bytes().to_vec();
    let Some(version) = metadata.resource_version.map(RawValue::get) else {
        return Ok((metadata.uid, bytes, None));
    };
    // It is a part of the object's own text, and its digits are between quotes.
    let begin = version.as_ptr().addr() - object.as_ptr().addr() + 1;
    bytes.drain(begin..begin + version.len().saturating_sub(2));
    Ok((metadata.uid, bytes, u32::try_from(begin).ok()))
}

/// All objects of a store that snapshots hold.
pub(super) async fn present(store: &dyn Store) -> Result<Vec<Entry>, vkube_store::Error> {
    let mut parts = store.parts(OBJECTS, None);
    let mut all = Vec::new();
    while let Some(Part { entries, .. }) = parts.try_next().await? {
        all.extend(entries.into_iter().filter(|entry| is_kept(&entry.key)));
    }
    Ok(all)
}
