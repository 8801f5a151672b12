//! The kinds that the server knows: one file a kind under `registry/<group>/`, one line each in the table.

pub mod kind;
