//! What an `AuthenticationConfiguration` must be like
//! (`k8s.io/apiserver/pkg/apis/apiserver/validation`).

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use super::{ClaimRule, Configuration, Issuer, Jwt, Mappings, Prefixed, UserRule};
use crate::{
    cel::{Issues, Program, Scope, Type},
    field::{Errors, Path},
    validation::formats,
};

const MAX_ISSUERS: usize = 64;
const BOTH: &str = "claim and expression can't both be set";
const NEITHER: &str = "claim or expression is required";

/// Everything wrong with a configuration.
pub fn validate(configuration: &Configuration, own: &str) -> Errors {
    let mut errors = Errors::default();
    let root = Path::new("jwt");
    if configuration.jwt.len() > MAX_ISSUERS {
        errors.too_many(&root, configuration.jwt.len(), MAX_ISSUERS);
        return errors;
    }
    let (mut urls, mut discoveries) = (BTreeSet::new(), BTreeSet::new());
    for (index, jwt) in configuration.jwt.iter().enumerate() {
        let path = root.index(index);
        of_jwt(&mut errors, &path, jwt, own);
        let (path, issuer) = (path.child("issuer"), &jwt.issuer);
        if !urls.insert(&issuer.url) {
            errors.duplicate(&path.child("url"), &issuer.url.as_str().into());
        }
        if !issuer.discovery_url.is_empty() && !discoveries.insert(&issuer.discovery_url) {
            errors.duplicate(&path.child("discoveryURL"), &issuer.discovery_url.as_str().into());
        }
    }
    if let Some(anonymous) = &configuration.anonymous
        && !anonymous.enabled
        && !anonymous.conditions.is_empty()
    {
        let shown: Value = anonymous.conditions.iter().map(|c| json!({"Path": c.path})).collect();
        let why = "enabled should be set to true when conditions are defined";
        errors.invalid(&Path::new("anonymous").child("conditions"), &shown, why);
    }
    errors
}

fn of_jwt(errors: &mut Errors, path: &Path<'_>, jwt: &Jwt, own: &str) {
    of_issuer(errors, &path.child("issuer"), &jwt.issuer, own);
    let mut email = Email::default();
    of_claim_rules(errors, &path.child("claimValidationRules"), &jwt.claim_validation_rules, &mut email);
    of_mappings(errors, &path.child("claimMappings"), &jwt.claim_mappings, &mut email);
    of_user_rules(errors, &path.child("userValidationRules"), &jwt.user_validation_rules);
}

fn of_issuer(errors: &mut Errors, path: &Path<'_>, issuer: &Issuer, own: &str) {
    let url = path.child("url");
    if issuer.url.is_empty() {
        errors.required(&url, "");
    } else {
        if issuer.url == own {
            let why = format!("URL must not overlap with disallowed issuers: [{own}]");
            errors.invalid_str(&url, own, &why);
        }
        of_url(errors, &url, &issuer.url);
    }
    if !issuer.discovery_url.is_empty() {
        let url = path.child("discoveryURL");
        let bare = |url: &str| url.trim_end_matches('/').to_owned();
        if !issuer.url.is_empty() && bare(&issuer.url) == bare(&issuer.discovery_url) {
            errors.invalid_str(&url, &issuer.discovery_url, "discoveryURL must be different from URL");
        }
        of_url(errors, &url, &issuer.discovery_url);
    }
    of_audiences(errors, path, issuer);
    let bundle = issuer.certificate_authority.as_bytes();
    if !bundle.is_empty() && !CertificateDer::pem_slice_iter(bundle).any(|found| found.is_ok()) {
        let why = "data does not contain any valid RSA or ECDSA certificates";
        errors.invalid_str(&path.child("certificateAuthority"), "<omitted>", why);
    }
    let egress = issuer.egress_selector_type.as_str();
    if !matches!(egress, "" | "controlplane" | "cluster") {
        let why = "egress selector must be either controlplane or cluster";
        errors.invalid_str(&path.child("egressSelectorType"), egress, why);
    }
}

fn of_url(errors: &mut Errors, path: &Path<'_>, text: &str) {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    let authority = rest.split('/').next().unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("https") {
        errors.invalid_str(path, text, "URL scheme must be https");
    }
    if authority.contains('@') {
        errors.invalid_str(path, text, "URL must not contain a username or password");
    }
    if !query.is_empty() {
        errors.invalid_str(path, text, "URL must not contain a query");
    }
    if !fragment.is_empty() {
        errors.invalid_str(path, text, "URL must not contain a fragment");
    }
}

fn of_audiences(errors: &mut Errors, path: &Path<'_>, issuer: &Issuer) {
    let (list, policy) = (path.child("audiences"), path.child("audienceMatchPolicy"));
    if issuer.audiences.is_empty() {
        errors.required(&list, &format!("at least one {list} is required"));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, audience) in issuer.audiences.iter().enumerate() {
        let path = list.index(index);
        if audience.is_empty() {
            errors.required(&path, "");
        }
        if !seen.insert(audience) {
            errors.duplicate(&path, &audience.as_str().into());
        }
    }
    let chosen = issuer.audience_match_policy.as_str();
    match (issuer.audiences.len(), chosen) {
        (_, "MatchAny") | (1, "") => {}
        (1, _) => {
            let why = "audienceMatchPolicy must be empty or MatchAny for single audience";
            errors.invalid_str(&policy, chosen, why);
        }
        _ => {
            let why = "audienceMatchPolicy must be MatchAny for multiple audiences";
            errors.invalid_str(&policy, chosen, why);
        }
    }
}

/// Whether expressions look at an address, and at whether it is verified.
#[derive(Default)]
struct Email {
    used: bool,
    verified: bool,
}

fn of_claim_rules(errors: &mut Errors, path: &Path<'_>, rules: &[ClaimRule], email: &mut Email) {
    let (mut claims, mut expressions) = (BTreeSet::new(), BTreeSet::new());
    for (index, rule) in rules.iter().enumerate() {
        let path = path.index(index);
        match (rule.claim.as_str(), rule.expression.as_str()) {
            ("", "") => errors.required(&path, NEITHER),
            (claim, "") => {
                if !rule.message.is_empty() {
                    let why = "may not be specified when claim is set";
                    errors.invalid_str(&path.child("message"), &rule.message, why);
                }
                if !claims.insert(claim) {
                    errors.duplicate(&path.child("claim"), &claim.into());
                }
            }
            ("", expression) => {
                if !rule.required_value.is_empty() {
                    let why = "may not be specified when expression is set";
                    errors.invalid_str(&path.child("requiredValue"), &rule.required_value, why);
                }
                if expressions.insert(expression) {
                    let program = of_claims(errors, &path.child("expression"), expression, &[Type::BOOL]);
                    email.verified |= program.is_some_and(|program| looks_at(&program, "email_verified"));
                } else {
                    errors.duplicate(&path.child("expression"), &expression.into());
                }
            }
            (claim, _) => errors.invalid_str(&path, claim, BOTH),
        }
    }
}

fn of_mappings(errors: &mut Errors, path: &Path<'_>, mappings: &Mappings, email: &mut Email) {
    if let Some(program) = of_prefixed(errors, &path.child("username"), &mappings.username, true) {
        email.used |= looks_at(&program, "email");
        email.verified |= looks_at(&program, "email_verified");
    }
    of_prefixed(errors, &path.child("groups"), &mappings.groups, false);
    let uid = path.child("uid");
    match (mappings.uid.claim.as_str(), mappings.uid.expression.as_str()) {
        (_, "") => {}
        ("", expression) => {
            of_claims(errors, &uid.child("expression"), expression, &[]);
        }
        _ => errors.invalid_str(&uid, "", BOTH),
    }
    let mut keys = BTreeSet::new();
    for (index, extra) in mappings.extra.iter().enumerate() {
        let path = path.child("extra");
        let path = path.index(index);
        of_key(errors, &path.child("key"), &extra.key);
        if !keys.insert(&extra.key) {
            errors.duplicate(&path.child("key"), &extra.key.as_str().into());
            continue;
        }
        let value = path.child("valueExpression");
        if extra.value_expression.is_empty() {
            errors.required(&value, "");
        } else if let Some(program) = of_claims(errors, &value, &extra.value_expression, &[]) {
            email.verified |= looks_at(&program, "email_verified");
        }
    }
    if email.used && !email.verified {
        let why = "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression";
        let path = path.child("username");
        errors.invalid_str(&path.child("expression"), &mappings.username.expression, why);
    }
}

fn of_key(errors: &mut Errors, path: &Path<'_>, key: &str) {
    if key.is_empty() {
        errors.required(path, "");
    } else {
        for (part, why) in formats::domain_prefixed_path(key) {
            errors.invalid_str(path, &part, &why);
        }
    }
    if key.chars().any(char::is_uppercase) {
        errors.invalid_str(path, key, "must be lowercase");
    }
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let reserved = |owner: &str| domain == owner || domain.ends_with(&format!(".{owner}"));
    if reserved("kubernetes.io") || reserved("k8s.io") {
        let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        errors.invalid_str(path, key, why);
    }
}

fn of_prefixed(errors: &mut Errors, path: &Path<'_>, mapping: &Prefixed, required: bool) -> Option<Program> {
    match (mapping.claim.as_str(), mapping.expression.as_str()) {
        ("", "") if required => errors.required(path, NEITHER),
        ("", "") => {}
        ("", expression) => {
            if let Some(prefix) = &mapping.prefix {
                let why = "may not be specified when expression is set";
                errors.invalid_str(&path.child("prefix"), prefix, why);
            }
            return of_claims(errors, &path.child("expression"), expression, &[]);
        }
        (_, "") if mapping.prefix.is_none() => {
            let why =
                "prefix is required when claim is set. It can be set to an empty string to disable prefixing";
            errors.required(&path.child("prefix"), why);
        }
        (_, "") => {}
        _ => errors.invalid_str(path, "", BOTH),
    }
    None
}

fn of_user_rules(errors: &mut Errors, path: &Path<'_>, rules: &[UserRule]) {
    let mut seen = BTreeSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let (path, text) = (path.index(index), rule.expression.as_str());
        let path = path.child("expression");
        if text.is_empty() {
            errors.required(&path, "");
        } else if seen.insert(text) {
            let user = ("user", Type::Named("kubernetes.UserInfo".into()));
            compiled(errors, &path, text, user, &[Type::BOOL]);
        } else {
            errors.duplicate(&path, &text.into());
        }
    }
}

fn of_claims(errors: &mut Errors, path: &Path<'_>, text: &str, wanted: &[Type]) -> Option<Program> {
    compiled(errors, path, text, ("claims", Type::map(Type::TEXT, Type::Dyn)), wanted)
}

fn compiled(
    errors: &mut Errors,
    path: &Path<'_>,
    text: &str,
    variable: (&str, Type),
    wanted: &[Type],
) -> Option<Program> {
    let compile = || {
        let program = Program::parse(text)?;
        let ty = program.check(text, &Scope { variables: &[variable], ..Scope::default() })?;
        Ok::<_, Issues>((program, ty))
    };
    match compile() {
        Err(why) => errors.invalid_str(path, text, &format!("compilation failed: {why}")),
        Ok((program, ty)) if wanted.is_empty() || wanted.contains(&ty) => return Some(program),
        Ok(_) => {
            let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            errors.invalid_str(path, text, &format!("must evaluate to {}", wanted.join(", ")));
        }
    }
    None
}

/// Whether an expression looks at a claim by its name.
fn looks_at(program: &Program, claim: &str) -> bool {
    program.selects("claims", claim)
}
