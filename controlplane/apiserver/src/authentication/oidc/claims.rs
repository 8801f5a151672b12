//! From the claims of a token to a user.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::{
    authentication::configuration::{Jwt, Prefixed},
    cel::{Budget, Lazy, Value, Variables, json},
    user::User,
};

/// How much one expression may do.
const BUDGET: u64 = 10_000_000;

/// The rules of one issuer, with its expressions.
#[derive(Debug)]
pub struct Rules {
    /// The configuration.
    pub jwt: Jwt,
    username: Lazy,
    groups: Lazy,
    uid: Lazy,
    extra: Box<[Lazy]>,
    claims: Box<[Lazy]>,
    user: Box<[Lazy]>,
}

impl Rules {
    /// The rules that a configuration has for one issuer.
    pub fn new(jwt: Jwt) -> Self {
        let mappings = &jwt.claim_mappings;
        Self {
            username: Lazy::new(&mappings.username.expression),
            groups: Lazy::new(&mappings.groups.expression),
            uid: Lazy::new(&mappings.uid.expression),
            extra: mappings.extra.iter().map(|extra| Lazy::new(&extra.value_expression)).collect(),
            claims: jwt.claim_validation_rules.iter().map(|rule| Lazy::new(&rule.expression)).collect(),
            user: jwt.user_validation_rules.iter().map(|rule| Lazy::new(&rule.expression)).collect(),
            jwt,
        }
    }

    /// The user of these claims, or why there is none.
    pub fn user(&self, claims: &Json) -> Result<User, String> {
        let user = User {
            name: self.username(claims)?,
            groups: self.groups(claims)?,
            uid: self.uid(claims)?,
            extra: self.extra(claims)?,
        };
        self.check_claims(claims)?;
        self.check_user(&user)?;
        Ok(user)
    }

    fn username(&self, claims: &Json) -> Result<String, String> {
        let Prefixed { claim, prefix, expression } = &self.jwt.claim_mappings.username;
        if !expression.is_empty() {
            let failed = |why: String| format!("oidc: error evaluating username claim expression: {why}");
            let value = evaluate(&self.username, "claims", claims).map_err(failed)?;
            return text(&value)
                .ok_or_else(|| failed("username claim expression must return a string".into()));
        }
        let name = text_claim(claims, claim);
        let name = name.map_err(|why| format!("oidc: parse username claims {claim:?}: {why}"))?;
        if claim == "email"
            && let Some(verified) = claims.get("email_verified")
        {
            match verified {
                Json::Bool(true) => {}
                Json::Bool(false) | Json::Null => return Err("oidc: email not verified".into()),
                other => {
                    let why = mismatch(other, "bool");
                    return Err(format!("oidc: parse 'email_verified' claim: {why}"));
                }
            }
        }
        Ok(prefix.clone().unwrap_or_default() + name)
    }

    fn groups(&self, claims: &Json) -> Result<Vec<String>, String> {
        let Prefixed { claim, prefix, expression } = &self.jwt.claim_mappings.groups;
        if let Some(value) = claims.get(claim).filter(|_| !claim.is_empty()) {
            let prefix = prefix.as_deref().unwrap_or_default();
            let groups = text_or_list(value);
            let groups = groups.map_err(|why| format!("oidc: parse groups claim {claim:?}: {why}"))?;
            return Ok(groups.into_iter().map(|group| format!("{prefix}{group}")).collect());
        }
        if expression.is_empty() {
            return Ok(Vec::new());
        }
        evaluate(&self.groups, "claims", claims)
            .and_then(|value| texts(&value))
            .map_err(|why| format!("oidc: error evaluating group claim expression: {why}"))
    }

    fn uid(&self, claims: &Json) -> Result<String, String> {
        let mapping = &self.jwt.claim_mappings.uid;
        if !mapping.claim.is_empty() {
            let uid = text_claim(claims, &mapping.claim).map(Into::into);
            return uid.map_err(|why| format!("oidc: parse uid claim {:?}: {why}", mapping.claim));
        }
        if mapping.expression.is_empty() {
            return Ok(String::new());
        }
        let failed = |why: String| format!("oidc: error evaluating uid claim expression: {why}");
        let value = evaluate(&self.uid, "claims", claims).map_err(failed)?;
        text(&value).ok_or_else(|| failed("uid claim expression must return a string".into()))
    }

    fn extra(&self, claims: &Json) -> Result<BTreeMap<String, Vec<String>>, String> {
        let mut all = BTreeMap::new();
        for (extra, expression) in self.jwt.claim_mappings.extra.iter().zip(&self.extra) {
            let value = evaluate(expression, "claims", claims)?;
            let values = texts(&value).map_err(|why| {
                format!("oidc: error evaluating extra claim expression: {}: {why}", expression.text())
            })?;
            if !values.is_empty() {
                all.insert(extra.key.clone(), values);
            }
        }
        Ok(all)
    }

    fn check_claims(&self, claims: &Json) -> Result<(), String> {
        let rules = &self.jwt.claim_validation_rules;
        for rule in rules.iter().filter(|rule| !rule.claim.is_empty()) {
            let (claim, wanted) = (&rule.claim, &rule.required_value);
            if claims.get(claim).is_none() {
                return Err(format!("oidc: required claim {claim} not present in ID token"));
            }
            let got = text_claim(claims, claim).map_err(|why| format!("oidc: parse claim {claim}: {why}"))?;
            if got != wanted {
                return Err(format!(
                    "oidc: required claim {claim} value does not match. Got = {got}, want = {wanted}"
                ));
            }
        }
        let expressions = rules.iter().zip(&self.claims).filter(|(rule, _)| !rule.expression.is_empty());
        hold(expressions.map(|(rule, expression)| (expression, rule.message.as_str())), "claims", claims)
            .map_err(|why| format!("oidc: error evaluating claim validation expression: {why}"))
    }

    fn check_user(&self, user: &User) -> Result<(), String> {
        if self.user.is_empty() {
            return Ok(());
        }
        let shown = json!({
            "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
        });
        let messages = self.jwt.user_validation_rules.iter().map(|rule| rule.message.as_str());
        hold(self.user.iter().zip(messages), "user", &shown)
            .map_err(|why| format!("oidc: error evaluating user info validation rule: {why}"))
    }
}

/// Whether all of these expressions are true of a variable.
fn hold<'e>(
    rules: impl Iterator<Item = (&'e Lazy, &'e str)>,
    name: &str,
    document: &Json,
) -> Result<(), String> {
    let rules: Vec<_> = rules.collect();
    let values = rules.iter().map(|(expression, _)| evaluate(expression, name, document));
    let values: Vec<Value<'_>> = values.collect::<Result<_, _>>()?;
    for ((expression, message), value) in rules.iter().zip(values) {
        match value {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                return Err(format!("validation expression '{}' failed: {message}", expression.text()));
            }
            _ => return Err("validation expression must return a boolean".into()),
        }
    }
    Ok(())
}

fn evaluate<'a>(expression: &'a Lazy, name: &'a str, document: &'a Json) -> Result<Value<'a>, String> {
    let program = expression.program().map_err(ToString::to_string)?;
    let mut variables = Variables::default();
    variables.set(name, json::value(document, None));
    program
        .evaluate(&variables, &mut Budget::new(BUDGET))
        .map_err(|why| format!("expression '{}' resulted in error: {why}", expression.text()))
}

fn text(value: &Value<'_>) -> Option<String> {
    if let Value::Text(text) = value { Some(text.to_string()) } else { None }
}

/// A text or a list of texts, without those that are empty.
fn texts(value: &Value<'_>) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let each = |item: &Value<'_>| text(item).ok_or_else(wrong);
    let found: Result<Vec<String>, String> = match value {
        Value::Null => Ok(Vec::new()),
        Value::Text(text) => Ok(vec![text.to_string()]),
        Value::List(items) => items.iter().map(each).collect(),
        Value::Array(array) => array.iter().map(|item| each(&item)).collect(),
        _ => Err(wrong()),
    };
    found.map(|texts| texts.into_iter().filter(|text| !text.is_empty()).collect())
}

/// A claim that is a text.
fn text_claim<'c>(claims: &'c Json, claim: &str) -> Result<&'c str, String> {
    match claims.get(claim) {
        None => Err("claim not present".into()),
        Some(Json::String(text)) => Ok(text),
        Some(Json::Null) => Ok(""),
        Some(other) => Err(mismatch(other, "string")),
    }
}

fn text_or_list(value: &Json) -> Result<Vec<&str>, String> {
    match value {
        Json::Null => Ok(Vec::new()),
        Json::String(text) => Ok(vec![text]),
        Json::Array(items) if items.iter().all(Json::is_string) => {
            Ok(items.iter().filter_map(Json::as_str).collect())
        }
        other => Err(mismatch(other, "string")),
    }
}

/// A value of the wrong type, in the words of Go.
fn mismatch(value: &Json, wanted: &str) -> String {
    let got = match value {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    format!("json: cannot unmarshal {got} into Go value of type {wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(document: Json) -> Rules {
        Rules::new(serde_json::from_value(document).unwrap())
    }

    #[test]
    fn claims_with_prefixes_make_a_user() {
        let rules = rules(json!({"claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"}, "groups": {"claim": "roles", "prefix": "g:"},
            "uid": {"claim": "id"},
        }}));
        let user = rules.user(&json!({"sub": "jane", "roles": ["a", "b"], "id": "7"})).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("oidc:jane", "7"));
        assert_eq!(user.groups, ["g:a", "g:b"]);
        let user = rules.user(&json!({"sub": "jane", "roles": "a", "id": "7"})).unwrap();
        assert_eq!(user.groups, ["g:a"]);
        assert_eq!(
            rules.user(&json!({"sub": 1, "id": "7"})),
            Err("oidc: parse username claims \"sub\": json: cannot unmarshal number into Go value of type string".into())
        );
    }

    #[test]
    fn expressions_make_a_user() {
        let rules = rules(json!({"claimMappings": {
            "username": {"expression": "claims.sub + '@x'"},
            "groups": {"expression": "claims.roles.split(',')"},
            "extra": [
                {"key": "example.org/tenant", "valueExpression": "claims.tenant"},
                {"key": "example.org/none", "valueExpression": "claims.?none.orValue('')"},
            ],
        }}));
        let user = rules.user(&json!({"sub": "jane", "roles": "a,b,", "tenant": ["t", ""]})).unwrap();
        assert_eq!(user.name, "jane@x");
        assert_eq!(user.groups, ["a", "b"]);
        assert_eq!(user.extra, BTreeMap::from([("example.org/tenant".into(), vec!["t".into()])]));
        assert_eq!(
            rules.user(&json!({"roles": ""})),
            Err("oidc: error evaluating username claim expression: expression 'claims.sub + '@x'' resulted in error: no such key: sub".into())
        );
    }

    #[test]
    fn an_address_counts_only_when_verified() {
        let rules = rules(json!({"claimMappings": {"username": {"claim": "email", "prefix": ""}}}));
        assert!(rules.user(&json!({"email": "a@b"})).is_ok());
        assert!(rules.user(&json!({"email": "a@b", "email_verified": true})).is_ok());
        let unverified = rules.user(&json!({"email": "a@b", "email_verified": false}));
        assert_eq!(unverified, Err("oidc: email not verified".into()));
    }

    #[test]
    fn rules_about_claims_and_users_refuse() {
        let rules = rules(json!({
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
            "claimValidationRules": [
                {"claim": "hd", "requiredValue": "example.com"},
                {"expression": "claims.exp - claims.iat <= 60", "message": "too long"},
            ],
            "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
        }));
        let with =
            |sub: &str, hd: &str, exp: i64| rules.user(&json!({"sub": sub, "hd": hd, "exp": exp, "iat": 0}));
        assert!(with("a", "example.com", 60).is_ok());
        assert_eq!(
            with("a", "x", 60),
            Err("oidc: required claim hd value does not match. Got = x, want = example.com".into())
        );
        assert_eq!(
            with("a", "example.com", 61),
            Err("oidc: error evaluating claim validation expression: validation expression 'claims.exp - claims.iat <= 60' failed: too long".into())
        );
        assert_eq!(
            with("system:a", "example.com", 60),
            Err("oidc: error evaluating user info validation rule: validation expression '!user.username.startsWith('system:')' failed: reserved".into())
        );
    }
}
