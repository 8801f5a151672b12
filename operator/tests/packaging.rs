//! What the operator is shipped as: its pod, its image, and the workflows that build and sign it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use serde_json::Value;
use vkube_operator::install_manifests;

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

fn workflow(name: &str) -> Value {
    serde_saphyr::from_str(&file(&format!(".github/workflows/{name}.yml"))).unwrap()
}

fn manifest(kind: &str) -> Value {
    let all = install_manifests("image");
    let found = all.into_iter().find(|object| object.types.as_ref().unwrap().kind == kind);
    serde_json::to_value(found.unwrap()).unwrap()
}

#[test]
fn the_operator_runs_without_root_rights_or_a_file_system_to_write_to() {
    let pod = &manifest("Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["capabilities"]["drop"], serde_json::json!(["ALL"]));
    let policy = &manifest("NetworkPolicy")["spec"];
    assert_eq!(
        policy["policyTypes"],
        serde_json::json!(["Ingress", "Egress"]),
        "what is not named is denied"
    );
    assert!(policy["egress"].as_array().unwrap().iter().all(|rule| rule["ports"].is_array()));
}

#[test]
fn the_operators_pod_is_probed_where_it_tells_of_itself() {
    let container = manifest("Deployment")["spec"]["template"]["spec"]["containers"][0].clone();
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(container["livenessProbe"]["httpGet"]["port"], container["ports"][0]["name"]);
}

#[test]
fn the_image_is_one_static_program_that_nobody_runs_as_root() {
    let recipe = file("Containerfile");
    let last = recipe.rsplit("\nFROM ").next().unwrap();
    assert!(last.starts_with("gcr.io/distroless/static"), "{last}");
    assert!(last.contains("\nUSER 65532:65532\n") && !last.contains("\nRUN "), "{last}");
    assert!(recipe.contains("cargo-auditable"), "the program carries the list of what it is made of");
    assert!(recipe.contains("TARGETARCH"), "for more than one architecture");
    let checked = file(".github/workflows/ci.yml");
    assert!(checked.contains("-lt 25000000") && checked.contains("--read-only --cap-drop ALL"), "{checked}");
}

#[test]
fn workflows_may_read_only_end_in_time_and_run_what_they_name_by_its_commit() {
    // No source that can be trusted here says which commit these tags are of.
    let by_tag = ["anchore/sbom-action/download-syft@v0", "actions/attest-build-provenance@v2"];
    for name in ["ci", "release"] {
        let workflow = workflow(name);
        assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}), "{name}");
        for (job, of) in workflow["jobs"].as_object().unwrap() {
            assert!(of["timeout-minutes"].is_u64(), "{name}: {job}");
            let used = of["steps"].as_array().unwrap().iter().filter_map(|step| step["uses"].as_str());
            for action in used.filter(|action| !by_tag.contains(action)) {
                let commit = action.split_once('@').unwrap().1;
                let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
                assert!(is_commit, "{name}: {action}");
            }
        }
    }
}

#[test]
fn a_release_has_bills_of_materials_provenance_and_signatures_that_are_verified_at_once() {
    let steps = workflow("release")["jobs"]["release"]["steps"].to_string();
    for part in [
        "linux/amd64,linux/arm64",
        "spdx-json=",
        "cyclonedx-json=",
        "attest-build-provenance",
        "cosign sign --yes",
        "cosign sign-blob --yes",
        "helm push",
    ] {
        assert!(steps.contains(part), "{part}");
    }
    let at = |part: &str| steps.find(part).unwrap();
    assert!(
        at("cosign sign --yes") < at("cosign verify ") && at("cosign verify-blob") < at("gh release create")
    );
}
