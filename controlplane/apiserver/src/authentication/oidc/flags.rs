//! The flags `--oidc-*`: the configuration of one issuer from before there was a file for it.

use super::ALGORITHMS;
use crate::authentication::configuration::{ClaimRule, Issuer, Jwt, Mappings, Prefixed};

/// What the flags say; without an issuer and a client they say nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flags {
    /// `--oidc-issuer-url`
    pub issuer_url: String,
    /// `--oidc-client-id`
    pub client_id: String,
    /// The text of `--oidc-ca-file`; empty means the authorities of the machine.
    pub certificate_authority: String,
    /// `--oidc-username-claim`
    pub username_claim: String,
    /// `--oidc-username-prefix`
    pub username_prefix: String,
    /// `--oidc-groups-claim`
    pub groups_claim: String,
    /// `--oidc-groups-prefix`
    pub groups_prefix: String,
    /// `--oidc-signing-algs`
    pub signing_algs: Vec<String>,
    /// `--oidc-required-claim`, as names and values.
    pub required_claims: Vec<(String, String)>,
}

/// Why the flags are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// One is there without the other.
    #[error("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set")]
    Incomplete,
    /// An algorithm that is not one.
    #[error("oidc: unsupported signing alg: {0:?}")]
    Algorithm(String),
}

impl Flags {
    /// What they say of the issuer's tokens.
    pub fn jwt(&self) -> Result<Jwt, Error> {
        if self.issuer_url.is_empty() || self.client_id.is_empty() {
            return Err(Error::Incomplete);
        }
        if let Some(other) = self.signing_algs.iter().find(|name| !ALGORITHMS.contains(&name.as_str())) {
            return Err(Error::Algorithm(other.clone()));
        }
        let prefix = match (self.username_prefix.as_str(), self.username_claim.as_str()) {
            ("-", _) | ("", "email") => String::new(),
            // Names of several issuers do not meet, unless somebody wants them to.
            ("", _) => format!("{}#", self.issuer_url),
            (prefix, _) => prefix.to_owned(),
        };
        let mut groups = Prefixed::default();
        if !self.groups_claim.is_empty() {
            groups.claim.clone_from(&self.groups_claim);
            groups.prefix = Some(self.groups_prefix.clone());
        }
        let required = self.required_claims.iter().map(|(claim, value)| ClaimRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..ClaimRule::default()
        });
        Ok(Jwt {
            issuer: Issuer {
                url: self.issuer_url.clone(),
                audiences: vec![self.client_id.clone()],
                certificate_authority: self.certificate_authority.clone(),
                ..Issuer::default()
            },
            claim_mappings: Mappings {
                username: Prefixed {
                    claim: self.username_claim.clone(),
                    prefix: Some(prefix),
                    ..Prefixed::default()
                },
                groups,
                ..Mappings::default()
            },
            claim_validation_rules: required.collect(),
            algorithms: Some(self.signing_algs.clone()),
            ..Jwt::default()
        })
    }
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            issuer_url: String::new(),
            client_id: String::new(),
            certificate_authority: String::new(),
            username_claim: "sub".into(),
            username_prefix: String::new(),
            groups_claim: String::new(),
            groups_prefix: String::new(),
            signing_algs: vec!["RS256".into()],
            required_claims: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_issuer_unless_they_are_addresses_or_asked_for_plainly() {
        let prefix = |claim: &str, prefix: &str| {
            let flags = Flags {
                issuer_url: "https://i".into(),
                client_id: "c".into(),
                username_claim: claim.into(),
                username_prefix: prefix.into(),
                ..Flags::default()
            };
            flags.jwt().unwrap().claim_mappings.username.prefix.unwrap()
        };
        assert_eq!(prefix("sub", ""), "https://i#");
        assert_eq!(prefix("email", ""), "");
        assert_eq!(prefix("sub", "-"), "");
        assert_eq!(prefix("sub", "x:"), "x:");
    }

    #[test]
    fn an_issuer_needs_a_client_and_algorithms_that_exist() {
        let flags = Flags { issuer_url: "https://i".into(), ..Flags::default() };
        assert_eq!(flags.jwt(), Err(Error::Incomplete));
        let flags = Flags { client_id: "c".into(), signing_algs: vec!["HS256".into()], ..flags };
        assert_eq!(flags.jwt(), Err(Error::Algorithm("HS256".into())));
    }
}
