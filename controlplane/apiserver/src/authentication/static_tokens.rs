//! Tokens from a file
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file>).

use std::collections::HashMap;

use crate::user::User;

/// The tokens of a file.
#[derive(Debug, Default)]
pub struct StaticTokens(HashMap<String, User>);

/// Why a token file was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// A line has fewer than three columns.
    #[error("line {line} must have at least 3 columns (token, user name, user uid), found {found}")]
    Columns {
        /// The line, from 1.
        line: usize,
        /// How many columns it has.
        found: usize,
    },
    /// A line has no token.
    #[error("line {0} has an empty token")]
    Empty(usize),
}

impl StaticTokens {
    /// Parses the file's text: `token,user,uid[,"group1,group2"]` a line.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut tokens = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let columns = columns(line);
            let [token, name, uid, groups @ ..] = columns.as_slice() else {
                return Err(Error::Columns { line: at + 1, found: columns.len() });
            };
            if token.is_empty() {
                return Err(Error::Empty(at + 1));
            }
            let groups = groups.first().map(String::as_str).unwrap_or_default();
            let groups = groups.split(',').map(str::trim).filter(|g| !g.is_empty()).map(Into::into).collect();
            let user = User { name: name.clone(), uid: uid.clone(), groups, ..User::default() };
            tokens.insert(token.clone(), user);
        }
        Ok(Self(tokens))
    }

    /// The user of a token.
    pub fn find(&self, token: &str) -> Option<User> {
        self.0.get(token).cloned()
    }
}

/// The columns of a CSV line; quotes hold commas together.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            c => {
                if let Some(column) = columns.last_mut() {
                    column.push(c);
                }
            }
        }
    }
    columns.into_iter().map(|c| c.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_stand_in_quotes() {
        let tokens = StaticTokens::parse("t,admin,1,\"system:masters,dev\"\n").unwrap();
        assert_eq!(tokens.find("t").unwrap().groups, ["system:masters", "dev"]);
    }

    #[test]
    fn a_short_line_is_refused() {
        let error = StaticTokens::parse("t,admin").unwrap_err();
        assert_eq!(error, Error::Columns { line: 1, found: 2 });
    }
}
