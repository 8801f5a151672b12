//! YAML as the real server reads and writes it: that of Go's `yaml.v2`, which is YAML 1.1 (`yes`, `on` and `n`
//! are booleans, `010` is octal) by way of JSON (all keys become strings).

mod errors;
mod json;
mod numbers;
mod read;
mod resolve;
#[cfg(test)]
mod tests;
mod write;

pub use read::read;
pub use write::write;
