//! Tables as `kubectl get` prints them.

use serde_json::Value;

/// Between columns.
const GAP: usize = 3;

/// Rows under headings; every row has as many cells.
#[derive(Debug, Default)]
pub struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new(headings: &[&str]) -> Self {
        Self { headings: headings.iter().map(|heading| heading.to_uppercase()).collect(), rows: Vec::new() }
    }

    /// What an API server made of a collection (`meta.k8s.io/v1 Table`). A priority above 0 makes a column one for `wide`;
    /// `namespaces` adds a column of those.
    pub fn of(table: &Value, wide: bool, namespaces: bool) -> Self {
        let list = |path: &str| table.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
        let columns = list("/columnDefinitions");
        let shown: Vec<bool> = columns
            .iter()
            .map(|column| wide || column["priority"].as_i64().unwrap_or_default() == 0)
            .collect();
        let mut headings: Vec<&str> = if namespaces { vec!["namespace"] } else { Vec::new() };
        headings.extend(
            columns.iter().zip(&shown).filter(|(_, shown)| **shown).filter_map(|(c, _)| c["name"].as_str()),
        );
        let mut into = Self::new(&headings);
        for row in list("/rows") {
            let namespace =
                namespaces.then(|| row.pointer("/object/metadata/namespace").map_or_else(String::new, text));
            let cells = row["cells"].as_array().cloned().unwrap_or_default();
            let cells = cells.iter().zip(&shown).filter(|(_, shown)| **shown).map(|(cell, _)| text(cell));
            into.add(namespace.into_iter().chain(cells).collect());
        }
        into
    }

    /// Adds a row.
    pub fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines, each after `indent` spaces.
    pub fn render(&self, indent: usize, headings: bool) -> String {
        let lines = || headings.then_some(&self.headings).into_iter().chain(&self.rows);
        let width = |column: usize| {
            lines().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        for row in lines() {
            let mut line = " ".repeat(indent);
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}{}", " ".repeat(GAP)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn mk() -> Value {
        json!({
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Ready"}, {"name": "Endpoint", "priority": 1},
            ],
            "rows": [
                {"cells": ["a", "True", "https://x"], "object": {"metadata": {"namespace": "tenants"}}},
                {"cells": ["longer-name", null, "https://y"], "object": {"metadata": {"namespace": "t"}}},
            ],
        })
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let text = Table::of(&mk(), false, false).render(0, true);
        assert_eq!(text, "NAME          READY\na             True\nlonger-name\n");
    }

    #[test]
    fn wide_tables_have_every_column() {
        let text = Table::of(&mk(), true, true).render(0, false);
        assert_eq!(
            text,
            "tenants   a             True   https://x\nt         longer-name          https://y\n"
        );
    }
}
