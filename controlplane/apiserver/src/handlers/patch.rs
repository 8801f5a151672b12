//! PATCH of an object or of a part of it, in the four forms that Kubernetes has
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply>).

use bytes::Bytes;
use http::header;
use serde_json::Value;

use super::{call::Call, call::read_body, write};
use crate::{
    body::{Request, Response},
    codec,
    documents::{self, Made},
    field::{Errors, Path},
    metadata,
    options::{FieldValidation, WriteOptions},
    ownership,
    patch::{self, json_patch, merge_patch, strategic},
    resource::Definition,
    schema::{json, types::Type},
    status::{ApiError, GroupResource},
};

/// The forms of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 6902
    Json,
    /// RFC 7386
    Merge,
    /// By the schema's merge keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl Form {
    /// How Go has the patched object.
    pub fn made(self) -> Made {
        if matches!(self, Self::Json | Self::Merge) { Made::Text } else { Made::Map }
    }
}

/// The form that the content type names.
pub fn form(request: &Request, definition: &Definition) -> Result<Form, ApiError> {
    let header =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match header.split(';').next().unwrap_or_default().trim() {
        "application/json-patch+json" => Ok(Form::Json),
        "application/merge-patch+json" => Ok(Form::Merge),
        "application/strategic-merge-patch+json" if matches!(definition, Definition::Builtin(_)) => {
            Ok(Form::Strategic)
        }
        "application/apply-patch+yaml" => Ok(Form::Apply),
        _ if matches!(definition, Definition::Custom(_)) => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        _ => {
            let mut error = ApiError::unsupported_media_type("415: Unsupported Media Type");
            error.details = Some(Box::default());
            Err(error)
        }
    }
}

/// Patches an object.
pub async fn patch(call: &mut Call, request: &mut Request) -> Result<Response, ApiError> {
    let form = form(request, &call.definition)?;
    let options = WriteOptions::read(&call.query, &call.user_agent, "PatchOptions", form == Form::Apply)?;
    let body = read_body(request).await?;
    crate::audit::request_patch(&body);
    if form == Form::Apply {
        return apply(call, &body, &options).await?.respond(call);
    }
    let validation = options.field_validation;
    let sent = Sent { form, body: &body, validation };
    let mut first = true;
    let write_options = write::Options { dry_run: options.dry_run, manager: options.manager };
    let written = write::update(call, &write_options, |call, live| {
        let live = live.ok_or_else(|| call.not_found())?;
        let mut object = live.clone();
        let definition = call.definition.clone();
        let ty = definition.ty()?;
        let problems = patched(&mut object, sent, ty)?;
        let validation = validation.of_try(&mut first);
        let object = documents::decode_made(call, object, form.made(), validation, problems, &|why| {
            refused(live, sent, ty, why).unwrap_or_else(|error| error)
        })?;
        write::check_name(call, &object)?;
        Ok(object)
    });
    written.await?.respond(call)
}

/// A patch as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Its form.
    pub form: Form,
    /// Its text.
    pub body: &'a Bytes,
    /// What becomes of what is not known. Who ignores that gets other words for what cannot be read.
    pub validation: FieldValidation,
}

/// Applies a patch to a document; the answer lists what a strict reader has against the patch itself.
pub fn patched(object: &mut Value, sent: Sent<'_>, ty: Type<'_>) -> Result<Vec<String>, ApiError> {
    let (form, lenient) = (sent.form, sent.validation == FieldValidation::Ignore);
    let (patch, mut problems) = json::parse(sent.body, None).map_err(|e| {
        ApiError::bad_request(match form {
            Form::Merge if lenient => "Invalid JSON Patch".into(),
            Form::Json | Form::Merge if !lenient => format!("error decoding patch: {e}"),
            _ => e.to_string(),
        })
    })?;
    if form == Form::Json {
        problems.extend(json_patch::unknown_fields(&patch));
        for problem in &mut problems {
            problem.insert_str(0, "json patch ");
        }
    }
    match form {
        Form::Json if lenient => json_patch::apply_unchecked(object, &patch)?,
        Form::Json => json_patch::apply(object, &patch)?,
        Form::Merge if lenient => merge_patch::apply_unchecked(object, patch)?,
        Form::Merge => merge_patch::apply(object, patch)?,
        Form::Strategic | Form::Apply => strategic::apply(object, patch, ty)?,
    }
    Ok(problems)
}

/// The error that what a patch makes of the object is wrong. It quotes the patched document, or the patch
/// itself where it is strategic.
pub fn refused(live: &Value, sent: Sent<'_>, ty: Type<'_>, why: &str) -> Result<ApiError, ApiError> {
    let shown = if sent.form == Form::Strategic {
        json::parse(sent.body, None).map(|(patch, _)| patch::printed::plain(&patch)).unwrap_or_default()
    } else {
        let (mut object, mut text) = (live.clone(), Vec::new());
        json::write(live, Some(ty), &mut text);
        patched(&mut object, sent, ty)?;
        patch::rendered(&String::from_utf8_lossy(&text), &object)
    };
    let mut errors = Errors::default();
    errors.invalid_str(&Path::new("patch"), &shown, why);
    Ok(ApiError::invalid(GroupResource { group: "", resource: "" }, "", &errors))
}

/// Reads the configuration to apply, and what is wrong with it to a strict reader.
pub fn config(body: &[u8]) -> Result<(Value, Vec<String>), ApiError> {
    let undecodable = |why: &str| ApiError::bad_request(format!("error decoding YAML: {why}"));
    let (config, problems) =
        codec::yaml::read(body).map_err(|e| undecodable(&format!("error converting YAML to JSON: {e}")))?;
    if config.is_object() || config.is_null() {
        return Ok((config, problems));
    }
    Err(undecodable(&format!(
        "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
        patch::printed::json_name(&config)
    )))
}

/// Refuses what is wrong with a configuration to a strict reader, or warns of it.
pub fn judge(call: &mut Call, problems: &[String], validation: FieldValidation) -> Result<(), ApiError> {
    match validation {
        FieldValidation::Strict if !problems.is_empty() => Err(ApiError::bad_request(format!(
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
            problems.join("\n  ")
        ))),
        FieldValidation::Warn => {
            call.warnings.extend(problems.iter().cloned());
            Ok(())
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(()),
    }
}

async fn apply(call: &mut Call, body: &[u8], options: &WriteOptions) -> Result<write::Written, ApiError> {
    let (config, problems) = config(body)?;
    let force = options.force.unwrap_or(false);
    let mut first = true;
    let write_options = write::Options { dry_run: options.dry_run, manager: String::new() };
    write::update(call, &write_options, |call, live| {
        if live.is_none() && !call.info.subresource.is_empty() {
            return Err(call.not_found());
        }
        let validation = options.field_validation.of_try(&mut first);
        let applied = ownership::apply(call, live, &config, &options.manager, force, validation);
        // Without what a webhook has to convert first it is no try.
        first = call.conversions.is_waiting();
        let mut object = applied?;
        judge(call, &problems, validation)?;
        if live.is_none() {
            let uid = metadata::text(&object, "uid");
            if !uid.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(ApiError::conflict(call.definition.group_resource(), &call.info.name, &why));
            }
            // A version to match makes no sense for what does not exist yet.
            metadata::remove(&mut object, "resourceVersion");
        }
        write::check_name(call, &object)?;
        Ok(object)
    })
    .await
}

#[cfg(test)]
mod tests {
    use http::header;
    use http_body_util::BodyExt;
    use tower::Service;

    use crate::{body, custom::tests::Fixture, user::User};

    const REPEATED: &str =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: '1'\n  k: '2'\n";

    async fn applied(server: &Fixture, validation: &str) -> (u16, Vec<String>, String) {
        let path = "/api/v1/namespaces/default/configmaps/a";
        let request = http::Request::patch(format!("{path}?fieldManager=m&fieldValidation={validation}"))
            .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
            .body(body::full(REPEATED))
            .unwrap();
        let response = server.0.server.service(User::component("test")).call(request).await.unwrap();
        let warnings = response.headers().get_all(header::WARNING).iter();
        let warnings = warnings.map(|warning| warning.to_str().unwrap().to_owned()).collect();
        let status = response.status().as_u16();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        (status, warnings, String::from_utf8(answer.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_key_that_is_applied_twice_is_warned_of_or_refused() {
        let server = Fixture::start().await;
        let (status, warnings, _) = applied(&server, "Warn").await;
        assert_eq!(status, 201);
        assert_eq!(warnings, [r#"299 - "line 6: key \"k\" already set in map""#]);
        let (status, warnings, _) = applied(&server, "Ignore").await;
        assert_eq!((status, warnings.len()), (200, 0));
        let (status, _, answer) = applied(&server, "Strict").await;
        assert_eq!(status, 400);
        assert!(answer.contains(r#"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"k\" already set in map"#), "{answer}");
    }

    async fn patched(server: &Fixture, path: &str, form: &str, patch: &str) -> (u16, serde_json::Value) {
        let request = http::Request::patch(path)
            .header(header::CONTENT_TYPE, format!("application/{form}"))
            .body(body::full(patch.to_owned()))
            .unwrap();
        let response = server.0.server.service(User::component("test")).call(request).await.unwrap();
        let status = response.status().as_u16();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&answer).unwrap())
    }

    #[tokio::test]
    async fn a_patch_may_say_that_the_object_is_of_another_version() {
        let server = Fixture::start().await;
        let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
        let target = serde_json::json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
        let spec = serde_json::json!({"maxReplicas": 3, "scaleTargetRef": target});
        server.create(scalers, &serde_json::json!({"metadata": {"name": "a"}, "spec": spec})).await;
        let path = format!("{scalers}/a");
        let patch = r#"{"apiVersion": "autoscaling/v1", "spec": {"targetCPUUtilizationPercentage": 33}}"#;
        let (status, answer) = patched(&server, &path, "merge-patch+json", patch).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["apiVersion"], "autoscaling/v2");
        assert_eq!(answer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 33);

        // What a strategic merge patch says that the object is does not matter, if it is text.
        let patch = r#"{"apiVersion": "v9", "kind": "X", "spec": {"minReplicas": 2.0}}"#;
        let (status, answer) = patched(&server, &path, "strategic-merge-patch+json", patch).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["kind"], "HorizontalPodAutoscaler");
        assert_eq!(answer["spec"]["minReplicas"], 2);

        for (patch, status, why) in [
            (
                r#"{"kind": "Deployment"}"#,
                422,
                "no kind \"Deployment\" is registered for version \"autoscaling/v2\"",
            ),
            (r#"{"apiVersion": "apps/v1", "kind": "Deployment"}"#, 422, "unknown conversion"),
            (r#"{"apiVersion": "a/b/c"}"#, 422, "unexpected GroupVersion string: a/b/c"),
            (r#"{"apiVersion": null}"#, 400, "the name of the object (a based on URL) was undeterminable"),
            (r#"{"kind": null}"#, 200, ""),
        ] {
            let (code, answer) = patched(&server, &path, "merge-patch+json", patch).await;
            assert_eq!(code, status, "{patch}: {answer}");
            let message = answer["message"].as_str().unwrap_or_default();
            assert!(message.contains(why), "{patch}: {message}");
        }
    }

    #[tokio::test]
    async fn unknown_fields_of_parts_of_objects_are_warned_of_or_refused() {
        let server = Fixture::start().await;
        let accounts = "/api/v1/namespaces/default/serviceaccounts";
        let account =
            serde_json::json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}});
        server.create(accounts, &account).await;
        let asked = async |validation: &str| {
            let body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":[]},"foo":1}"#;
            let request = http::Request::post(format!("{accounts}/a/token?fieldValidation={validation}"))
                .header(header::CONTENT_TYPE, "application/json")
                .body(body::full(body))
                .unwrap();
            let response = server.0.server.service(User::component("test")).call(request).await.unwrap();
            let warning = response.headers().get(header::WARNING).map(|w| w.to_str().unwrap().to_owned());
            (response.status().as_u16(), warning)
        };
        assert_eq!(asked("Warn").await, (201, Some(r#"299 - "unknown field \"foo\"""#.into())));
        assert_eq!(asked("Strict").await, (400, None));
        assert_eq!(asked("Ignore").await, (201, None));
    }
}
