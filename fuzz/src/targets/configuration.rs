//! What flags and headers bring: configurations of authentication and authorization, audit policies,
//! kubeconfigs, tokens.

use std::path::Path;

use serde_json::Value;
use vkube_apiserver::{
    audit::policy::Policy,
    authentication::{configuration::Configuration, jwt, oidc::claims::Rules},
    authorization::configuration,
    codec::yaml,
    outbound::kubeconfig::Remote,
};

/// The fields of a kubeconfig that name files: nothing outside is read here.
const FILES: &[&str] = &["tokenFile", "certificate-authority", "client-certificate", "client-key"];

fn without_files(document: &mut Value) {
    match document {
        Value::Object(map) => {
            map.retain(|name, _| !FILES.contains(&name.as_str()));
            map.values_mut().for_each(without_files);
        }
        Value::Array(items) => items.iter_mut().for_each(without_files),
        _ => {}
    }
}

/// Tries one input.
pub fn fuzz(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = jwt::issuer(text);
    }
    let Ok((mut document, _)) = yaml::read(data) else { return };
    let _ = Policy::read(document.clone());
    let _ = configuration::read(document.clone());
    if let Ok(configuration) = Configuration::read(data, "https://kubernetes.default.svc") {
        for jwt in configuration.jwt {
            let _ = Rules::new(jwt).user(&document);
        }
    }
    without_files(&mut document);
    let _ = Remote::read(&document, Path::new("config"));
}
