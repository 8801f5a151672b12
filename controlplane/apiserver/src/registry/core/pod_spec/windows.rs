//! What security contexts say to Windows nodes.

use serde_json::Value;

use crate::field::{Errors, Path};
use crate::registry::access::{get, opt_str};
use crate::validation::fields::{dns_subdomain, is_true};

const SPEC_KIB_MAX: usize = 64;
const DOMAIN_MAX: usize = 256;
const USER_MAX: usize = 104;

/// `windowsOptions`
pub fn validate_options(errors: &mut Errors, path: &Path<'_>, options: &Value) {
    if let Some(name) = opt_str(options, "/gmsaCredentialSpecName") {
        dns_subdomain(errors, &path.child("gmsaCredentialSpecName"), name);
    }
    if let Some(spec) = opt_str(options, "/gmsaCredentialSpec") {
        let path = path.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid_str(&path, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > SPEC_KIB_MAX * 1024 {
            let why = format!("gmsaCredentialSpec size must be under {SPEC_KIB_MAX} KiB");
            errors.invalid_str(&path, spec, &why);
        }
    }
    if let Some(name) = opt_str(options, "/runAsUserName") {
        for why in user_name(name) {
            errors.invalid_str(&path.child("runAsUserName"), name, &why);
        }
    }
}

/// What is wrong with a user's name, of the form `DOMAIN\USER`.
fn user_name(name: &str) -> Vec<String> {
    if name.is_empty() {
        return vec!["runAsUserName cannot be an empty string".into()];
    }
    if name.bytes().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters".into()];
    }
    let (domain, user) = name.split_once('\\').map_or((None, name), |(domain, user)| (Some(domain), user));
    if user.contains('\\') {
        return vec!["runAsUserName cannot contain more than one backslash".into()];
    }
    let mut wrong = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= DOMAIN_MAX {
            wrong.push(format!("runAsUserName's Domain length must be under {DOMAIN_MAX} characters"));
        }
        if !is_net_bios(domain) && !is_dns(domain) {
            wrong.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format".into());
        }
    }
    if user.is_empty() {
        wrong.push("runAsUserName's User cannot be empty".into());
    } else if user.len() > USER_MAX {
        wrong.push(format!("runAsUserName's User length must not be longer than {USER_MAX} characters"));
    }
    if !user.is_empty() && user.bytes().all(|c| b". ".contains(&c)) {
        wrong.push("runAsUserName's User cannot contain only periods or spaces".into());
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        wrong
            .push(r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#.into());
    }
    wrong
}

fn is_net_bios(domain: &str) -> bool {
    (1..=15).contains(&domain.chars().count())
        && !domain.starts_with('.')
        && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|'])
}

fn is_dns(domain: &str) -> bool {
    domain.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    })
}

/// All containers are processes of the host, in its network, or none is.
pub fn validate_host_processes(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const FIELD: &str = "/securityContext/windowsOptions/hostProcess";
    let flag = |owner: &Value| get(owner, FIELD).and_then(Value::as_bool);
    let of_pod = flag(spec);
    let (mut all, mut of_host) = (0, 0);
    super::visit_containers(path, spec, &mut |path, container| {
        all += 1;
        let own = flag(container);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let why = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            let context = path.child("securityContext");
            let options = context.child("windowsOptions");
            errors.invalid(&options.child("hostProcess"), &own.into(), &why);
        }
        of_host += usize::from(own.or(of_pod) == Some(true));
    });
    if of_host == 0 {
        return;
    }
    if of_host != all {
        let why =
            "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid_str(path, "", why);
    }
    if !is_true(spec, "/hostNetwork") {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), &false.into(), why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn users_may_have_a_domain() {
        let fine = ["ContainerAdministrator", r"NT AUTHORITY\NETWORK SERVICE", r"corp.example.com\user"];
        assert!(fine.iter().all(|name| user_name(name).is_empty()));
        let told = |name: &str| user_name(name).join("; ");
        assert_eq!(told(r"a\b\c"), "runAsUserName cannot contain more than one backslash");
        assert_eq!(told(".. "), "runAsUserName's User cannot contain only periods or spaces");
        assert_eq!(
            told(r".x y\"),
            "runAsUserName's Domain doesn't match the NetBios nor the DNS format; runAsUserName's User cannot be empty"
        );
    }

    #[test]
    fn processes_of_the_host_stand_alone_in_their_pod() {
        let host = json!({"windowsOptions": {"hostProcess": true}});
        let spec = json!({"containers": [{"name": "a", "securityContext": host}, {"name": "b"}]});
        let mut errors = Errors::default();
        validate_host_processes(&mut errors, &Path::new("spec"), &spec);
        let told: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "spec: Invalid value: \"\": If pod contains any hostProcess containers then all containers must be HostProcess containers",
                "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
            ]
        );
    }
}
