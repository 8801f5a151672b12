//! Whole-system tests: a sandbox host and real clients.
