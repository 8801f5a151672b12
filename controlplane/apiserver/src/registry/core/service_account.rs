//! Service accounts.

use jiff::Timestamp;
use serde_json::Value;

use crate::registry::kind::{Column, Kind};
use crate::table::{AGE, NAME, age, name};

/// The rules of service accounts.
pub struct ServiceAccount;

impl Kind for ServiceAccount {
    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        &[NAME, AGE]
    }

    fn cells(&self, account: &Value, now: Timestamp) -> Vec<Value> {
        vec![name(account), age(account, now)]
    }
}
