//! Lists that old clients wrote into annotations as JSON, read as Go reads them into the structs of the real server.

use serde_json::{Map, Value};

use crate::patch::printed::json_name;
use crate::schema::json;

/// The struct of the real server that an entry is read into.
pub struct Struct {
    /// Its name.
    pub name: &'static str,
    /// Its fields: the name that Go compares without regard to case, the name of the API, and the type.
    pub fields: &'static [(&'static str, &'static str, &'static str)],
}

/// The entries of the list, or Go's words for what is wrong with it.
pub fn list(text: &str, of: &Struct) -> Result<Vec<Value>, String> {
    let (value, _) = json::parse(text.as_bytes(), None).map_err(|error| error.to_string())?;
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(entries) => entries.iter().map(|entry| of.read(entry)).collect(),
        other => Err(mismatch(&other, &format!("value of type []core.{}", of.name))),
    }
}

impl Struct {
    fn read(&self, entry: &Value) -> Result<Value, String> {
        let given = match entry {
            Value::Null => return Ok(Value::Object(Map::new())),
            Value::Object(given) => given,
            other => return Err(mismatch(other, &format!("value of type core.{}", self.name))),
        };
        let mut read = Map::new();
        for (key, value) in given.iter().filter(|(_, value)| !value.is_null()) {
            let Some((name, field, ty)) =
                self.fields.iter().find(|(name, _, _)| name.eq_ignore_ascii_case(key))
            else {
                continue;
            };
            let fits = if *ty == "int64" { value.is_i64() } else { value.is_string() };
            if !fits {
                return Err(mismatch(value, &format!("struct field {}.{name} of type {ty}", self.name)));
            }
            read.insert((*field).to_owned(), value.clone());
        }
        Ok(Value::Object(read))
    }
}

fn mismatch(value: &Value, into: &str) -> String {
    let number =
        if into.ends_with("int64") && value.is_number() { format!(" {value}") } else { String::new() };
    format!("json: cannot unmarshal {}{number} into Go {into}", json_name(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OF: Struct = Struct {
        name: "Toleration",
        fields: &[("Key", "key", "string"), ("TolerationSeconds", "tolerationSeconds", "int64")],
    };

    #[test]
    fn fields_are_found_in_any_case_and_others_are_passed_over() {
        let read = list(r#"[{"KEY": "a", "tolerationSeconds": 3, "x": {}}, null]"#, &OF);
        assert_eq!(read, Ok(vec![json!({"key": "a", "tolerationSeconds": 3}), json!({})]));
    }

    #[test]
    fn what_cannot_be_read_is_told_in_the_words_of_go() {
        let told = |text: &str| list(text, &OF).unwrap_err();
        assert_eq!(told("x"), "invalid character 'x' looking for beginning of value");
        assert_eq!(told("{}"), "json: cannot unmarshal object into Go value of type []core.Toleration");
        assert_eq!(told("[1]"), "json: cannot unmarshal number into Go value of type core.Toleration");
        assert_eq!(
            told(r#"[{"key": 1}]"#),
            "json: cannot unmarshal number into Go struct field Toleration.Key of type string"
        );
        assert_eq!(
            told(r#"[{"tolerationSeconds": 1.5}]"#),
            "json: cannot unmarshal number 1.5 into Go struct field Toleration.TolerationSeconds of type int64"
        );
    }
}
