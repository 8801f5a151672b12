//! What is tried.

pub mod apply;
pub mod cel;
pub mod configuration;
pub mod custom;
pub mod json;
pub mod json_path;
pub mod patches;
pub mod protobuf;
pub mod requests;
pub mod selectors;
pub mod url;
pub mod yaml;

/// One of them: it panics where something is wrong.
pub type Target = fn(&[u8]);

/// All of them, by name.
pub const ALL: &[(&str, Target)] = &[
    ("json", json::fuzz),
    ("yaml", yaml::fuzz),
    ("protobuf", protobuf::fuzz),
    ("patches", patches::fuzz),
    ("apply", apply::fuzz),
    ("selectors", selectors::fuzz),
    ("cel", cel::fuzz),
    ("configuration", configuration::fuzz),
    ("custom", custom::fuzz),
    ("json_path", json_path::fuzz),
    ("url", url::fuzz),
    ("requests", requests::fuzz),
];
