//! The columns of custom resources' tables: `additionalPrinterColumns`.

use serde_json::Value;

/// A column besides the name.
#[derive(Clone, Debug)]
pub struct PrinterColumn {
    /// The header.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// The OpenAPI format.
    pub format: String,
    /// What it means.
    pub description: String,
    /// 0 is always shown; others only with `-o wide`.
    pub priority: i64,
    /// Where its value is.
    pub path: String,
}

/// Reads the columns of a version.
pub fn read(_columns: &[Value]) -> Vec<PrinterColumn> {
    Vec::new()
}
