//! Lists: consistent pages of objects
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks>).

use base64::{
    Engine, alphabet,
    engine::{
        DecodePaddingMode,
        general_purpose::{GeneralPurpose, GeneralPurposeConfig, URL_SAFE_NO_PAD},
    },
};
use futures::StreamExt;
use http::StatusCode;
use serde_json::{Value, json};
use vkube_store::{Entry, Range};

use super::call::Call;
use crate::{
    body::Response,
    custom::webhook,
    field::{Errors, Path},
    options::unsigned,
    patch::printed::json_name,
    representation,
    resource::Definition,
    schema::json,
    selectors::{
        Selection,
        fields::{FieldSelector, Selectable},
        labels::LabelSelector,
    },
    status::{ApiError, Details, GroupResource},
};

/// A page, ready to be represented.
#[derive(Default)]
pub struct Listing {
    /// The entries, selected.
    pub entries: Vec<Entry>,
    /// The revision that all pages show.
    pub revision: u64,
    /// Where the next page starts; empty on the last.
    pub continue_token: String,
    /// How many more there are, where it is known.
    pub remaining: Option<u64>,
}

/// Answers a list.
pub async fn list(call: &Call) -> Result<Response, ApiError> {
    let selection = selection(call)?;
    let wanted = Wanted::read(call).await?;
    if wanted.limit == 0 && wanted.after.is_none() {
        return whole(call, selection, wanted.at).await;
    }
    let mut listing = collect(call, &selection, wanted).await?;
    webhook::bring_entries(call, &mut listing.entries).await?;
    representation::list(call, StatusCode::OK, &listing)
}

/// What a list would answer.
pub async fn listing(call: &Call) -> Result<Listing, ApiError> {
    let selection = selection(call)?;
    collect(call, &selection, Wanted::read(call).await?).await
}

/// Which part of a list is asked for.
struct Wanted {
    /// At most so many; 0 is no limit.
    limit: usize,
    /// Those after this key.
    after: Option<String>,
    /// As of this revision.
    at: Option<u64>,
}

impl Wanted {
    async fn read(call: &Call) -> Result<Self, ApiError> {
        let mut limit = usize::try_from(call.query.integer("limit")?.unwrap_or(0)).unwrap_or(0);
        if call.query.get("resourceVersion") == "0" {
            // "Any version" is answered whole, as from the real server's watch cache.
            limit = 0;
        }
        let token = call.query.get("continue");
        let version = revision(call)?;
        if !token.is_empty() {
            let (start, at) = decode_token(token, &call.definition)?;
            return Ok(Self { limit, after: Some(start), at });
        }
        if let Some((revision, _)) = version {
            newest_at_least(call, revision).await?;
        }
        Ok(Self { limit, after: None, at: version.filter(|(_, exact)| *exact).map(|(revision, _)| revision) })
    }
}

/// Answers with all there is, which is sent while it is read if it is long.
async fn whole(call: &Call, selection: Selection, at: Option<u64>) -> Result<Response, ApiError> {
    let shared = call.shared();
    let mut parts = call.server.store().parts(&prefix(call), at).map(move |part| {
        let mut part = part?;
        part.entries.retain(|entry| selects(&shared, &selection, entry));
        Ok::<_, ApiError>(part)
    });
    let mut listing = Listing::default();
    while let Some(part) = parts.next().await.transpose()? {
        listing.revision = part.revision;
        listing.entries.extend(part.entries);
        if part.is_last {
            break;
        }
        if let Some(writer) = representation::Writer::new(call) {
            return representation::stream(call, StatusCode::OK, writer, &listing, parts);
        }
    }
    webhook::bring_entries(call, &mut listing.entries).await?;
    representation::list(call, StatusCode::OK, &listing)
}

/// The selectors of the query.
pub fn selection(call: &Call) -> Result<Selection, ApiError> {
    // The numbers are read before all else.
    call.query.integer("timeoutSeconds")?;
    call.query.integer("limit")?;
    let labels = LabelSelector::parse(call.query.get("labelSelector"))
        .map_err(|e| ApiError::bad_request(e.to_string()))?;
    let selectable = call.definition.selectable_fields();
    let selectable = Selectable {
        fields: &selectable,
        namespaced: call.definition.namespaced(),
        custom: matches!(call.definition, Definition::Custom(_)),
    };
    let fields = FieldSelector::parse(call.query.get("fieldSelector"), selectable)
        .map_err(|e| ApiError::bad_request(e.to_string()))?;
    let mut selection = Selection { labels, fields };
    if call.is_about_one() {
        let name = FieldSelector::parse(&format!("metadata.name={}", call.info.name), selectable)
            .map_err(|e| ApiError::bad_request(e.to_string()))?;
        if selection.fields.is_empty() {
            selection.fields = name;
        } else if selection.fields.exact_name() != Some(&*call.info.name) {
            return Err(ApiError::bad_request("fieldSelector metadata.name doesn't match requested name"));
        }
    }
    Ok(selection)
}

/// The prefix of the keys that the path is about.
pub fn prefix(call: &Call) -> String {
    let mut prefix = call.definition.prefix();
    if !call.namespace().is_empty() {
        prefix.push_str(call.namespace());
        prefix.push('/');
    }
    prefix
}

/// Whether an entry is selected.
pub fn selects(call: &Call, selection: &Selection, entry: &Entry) -> bool {
    if selection.is_everything() {
        return true;
    }
    let (namespace, name) = call.definition.split_key(&entry.key);
    selection.matches(namespace, name, &entry.index)
}

/// Fails when a revision has not been reached.
pub async fn newest_at_least(call: &Call, revision: u64) -> Result<(), ApiError> {
    let store = call.server.store();
    let mut newest = store.revision();
    if revision > newest {
        // Another replica may have told of it.
        newest = store.newest().await?;
    }
    if revision > newest { Err(ApiError::too_large_revision(revision, newest)) } else { Ok(()) }
}

async fn collect(call: &Call, selection: &Selection, wanted: Wanted) -> Result<Listing, ApiError> {
    let Wanted { limit, mut after, mut at } = wanted;
    let prefix = prefix(call);
    // With selectors a page may need several reads; each is of the same revision.
    let mut entries = Vec::new();
    loop {
        let range = Range { prefix: prefix.clone(), after: after.clone(), limit, at };
        let page = call.server.store().list(range).await.map_err(|e| expired(e, call, after.as_deref()))?;
        at = Some(page.revision);
        let (more, last) = (page.remaining > 0, page.entries.last().map(|e| e.key.clone()));
        let everything = selection.is_everything();
        let mut cut = false;
        for entry in page.entries {
            if limit > 0 && entries.len() == limit {
                cut = true;
                break;
            }
            if selects(call, selection, &entry) {
                entries.push(entry);
            }
        }
        let full = limit > 0 && entries.len() >= limit;
        if cut || (full && more) {
            let last = entries.last().map_or("", |entry| entry.key.as_str());
            let at = i64::try_from(page.revision).unwrap_or(-1);
            let continue_token = encode_token(at, last, &call.definition);
            let remaining = everything.then_some(page.remaining);
            return Ok(Listing { entries, revision: page.revision, continue_token, remaining });
        }
        if !more {
            return Ok(Listing {
                entries,
                revision: page.revision,
                continue_token: String::new(),
                remaining: None,
            });
        }
        after = last;
    }
}

/// The error of a page that is not kept any more, with a token that goes on with what there is by now.
fn expired(error: vkube_store::Error, call: &Call, after: Option<&str>) -> ApiError {
    if matches!(error, vkube_store::Error::Compacted { .. }) && !call.query.get("continue").is_empty() {
        let mut expired = ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        );
        let continue_token = encode_token(-1, after.unwrap_or_default(), &call.definition);
        expired.details = Some(Box::new(Details { continue_token, ..Details::default() }));
        return expired;
    }
    error.into()
}

/// The revision asked for, and whether exactly that one (else at least that).
fn revision(call: &Call) -> Result<Option<(u64, bool)>, ApiError> {
    let (version, matching) = (call.query.get("resourceVersion"), call.query.get("resourceVersionMatch"));
    let mut errors = Errors::default();
    let path = Path::new("resourceVersionMatch");
    if call.query.has("sendInitialEvents") {
        errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
    }
    if !matching.is_empty() {
        if version.is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
        }
        if !call.query.get("continue").is_empty() {
            errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.not_supported(&path, &matching.into(), &["Exact", "NotOlderThan", ""]);
        }
        if matching == "Exact" && version == "0" {
            errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
        }
    }
    if !errors.is_empty() {
        let kind = GroupResource { group: "meta.k8s.io", resource: "ListOptions" };
        return Err(ApiError::invalid(kind, "", &errors));
    }
    if !call.query.get("continue").is_empty() {
        if !matches!(version, "" | "0") {
            return Err(ApiError::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        return Ok(None);
    }
    if version.is_empty() {
        return Ok(None);
    }
    let number: u64 = parse_revision(version)?;
    let limited = call.query.integer("limit")?.unwrap_or(0) > 0;
    let exact = matching == "Exact" || (matching.is_empty() && limited && number > 0);
    Ok((number > 0).then_some((number, exact)))
}

/// A resource version as lists and watches read it.
pub fn parse_revision(version: &str) -> Result<u64, ApiError> {
    unsigned(version).map_err(|why| {
        let why = format!("invalid resource version: resourceVersion: Invalid value: {version:?}: {why}");
        ApiError::bad_request(why)
    })
}

/// A token of a revision; -1 is the newest.
fn encode_token(revision: i64, last_key: &str, definition: &Definition) -> String {
    let start = format!("{}\u{0}", last_key.get(definition.prefix().len()..).unwrap_or_default());
    URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": revision, "start": start}).to_string())
}

fn decode_token(token: &str, definition: &Definition) -> Result<(String, Option<u64>), ApiError> {
    let invalid = |why: String| {
        ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let bytes = LENIENT
        .decode(token)
        .map_err(|_| invalid(format!("illegal base64 data at input byte {}", base64_fault(token))))?;
    let (parsed, _) = json::parse(&bytes, None).map_err(|error| invalid(error.to_string()))?;
    if !parsed.is_object() && !parsed.is_null() {
        let given = json_name(&parsed);
        return Err(invalid(format!(
            "json: cannot unmarshal {given} into Go value of type storage.continueToken"
        )));
    }
    for (field, wanted) in [("v", "string"), ("rv", "int64"), ("start", "string")] {
        let given = parsed.get(field).unwrap_or(&Value::Null);
        let is_right = if wanted == "int64" { given.is_i64() } else { given.is_string() };
        if !is_right && !given.is_null() {
            let given =
                if given.is_number() { format!("number {given}") } else { json_name(given).to_owned() };
            return Err(invalid(format!(
                "json: cannot unmarshal {given} into Go struct field continueToken.{field} of type {wanted}"
            )));
        }
    }
    let version = parsed.get("v").and_then(Value::as_str).unwrap_or_default();
    if version != "meta.k8s.io/v1" {
        return Err(invalid(format!("server does not recognize this encoded version {version}")));
    }
    let revision = parsed.get("rv").and_then(Value::as_i64).unwrap_or_default();
    if revision == 0 {
        return Err(invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into()));
    }
    let start = parsed.get("start").and_then(Value::as_str).unwrap_or_default();
    if start.is_empty() {
        return Err(invalid("encoded start key empty (version meta.k8s.io/v1)".into()));
    }
    let path = start.strip_prefix('/').unwrap_or(start);
    // No way up, and none that could be written otherwise.
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(invalid(start.into()));
    }
    let key = format!("{}{}", definition.prefix(), path.trim_end_matches('\u{0}'));
    Ok((key, u64::try_from(revision).ok()))
}

/// Base64 as Go reads it: bits that are left over do not matter.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// Where Go sees the fault of text that is not base64: at the first strange character, or at one alone at the end.
fn base64_fault(text: &str) -> usize {
    text.bytes()
        .position(|c| !c.is_ascii_alphanumeric() && c != b'-' && c != b'_')
        .unwrap_or_else(|| text.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use http::{Request, header};
    use http_body::Body as _;
    use http_body_util::BodyExt;
    use tower::Service;

    use super::*;
    use crate::{
        body,
        custom::tests::{Fixture, WIDGETS, widgets},
        user::User,
    };

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    /// A list, and whether its length was known before it was sent.
    async fn listed(server: &Fixture, path: &str, accept: &str) -> (Value, bool) {
        let request = Request::get(path).header(header::ACCEPT, accept).body(body::empty()).unwrap();
        let response = server.0.server.service(User::component("test")).call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body();
        let known = body.size_hint().exact().is_some();
        (serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap(), known)
    }

    #[tokio::test]
    async fn a_token_that_is_none_says_why_as_go_does() {
        let server = Fixture::start().await;
        for (token, why) in [
            ("xyz", "invalid character 'Ç' looking for beginning of value"),
            (
                &*URL_SAFE_NO_PAD.encode(r#"{"v":"meta.k8s.io/v1","rv":"x","start":"a"}"#),
                "json: cannot unmarshal string into Go struct field continueToken.rv of type int64",
            ),
            (
                &*URL_SAFE_NO_PAD.encode("[]"),
                "json: cannot unmarshal array into Go value of type storage.continueToken",
            ),
        ] {
            let (status, body) = server.get(&format!("{MAPS}?continue={token}")).await;
            assert_eq!(status, StatusCode::BAD_REQUEST);
            assert_eq!(body["message"], format!("invalid continue token: continue key is not valid: {why}"));
        }
        server.0.stop().await;
    }

    #[tokio::test]
    async fn a_long_list_is_sent_while_it_is_read_and_is_the_same() {
        let server = Fixture::start().await;
        server
            .define(&widgets(&json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})))
            .await;
        let filling = "x".repeat(8_000);
        for number in 0..40 {
            let metadata =
                json!({"name": format!("n{number:02}"), "labels": {"odd": (number % 2).to_string()}});
            let widget = json!({
                "apiVersion": "example.com/v1", "kind": "Widget", "metadata": metadata, "spec": {"filling": filling},
            });
            server.create(MAPS, &json!({"metadata": metadata, "data": {"filling": filling}})).await;
            server.create(WIDGETS, &widget).await;
        }
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
        for (path, accept, items) in [
            (MAPS, "application/json", "items"),
            (MAPS, table, "rows"),
            (MAPS, metadata, "items"),
            (WIDGETS, "application/json", "items"),
        ] {
            // The server writes for itself now and then, so that the revision may move between the two.
            let (mut streamed, mut paged) = loop {
                let (mut streamed, known) = listed(&server, path, accept).await;
                assert!(!known, "{path} {accept}");
                let (mut paged, known) = listed(&server, &format!("{path}?limit=100"), accept).await;
                assert!(known, "{path} {accept}");
                let revision = |list: &mut Value| list["metadata"].take()["resourceVersion"].take();
                if revision(&mut streamed) == revision(&mut paged) {
                    break (streamed, paged);
                }
            };
            assert_eq!(streamed[items].as_array().map(Vec::len), Some(40));
            for item in [&mut streamed, &mut paged].into_iter().flat_map(|l| l[items].as_array_mut().unwrap())
            {
                // The age, which goes on.
                item.pointer_mut("/cells/2").map(Value::take);
            }
            assert_eq!(streamed, paged);
        }
        let (odd, _) = listed(&server, &format!("{MAPS}?labelSelector=odd%3D1"), "application/json").await;
        let names: Vec<&str> = odd["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|o| o["metadata"]["name"].as_str().unwrap())
            .collect();
        let expected: Vec<String> = (1..40).step_by(2).map(|number| format!("n{number:02}")).collect();
        assert_eq!(names, expected);
        server.0.stop().await;
    }
}
