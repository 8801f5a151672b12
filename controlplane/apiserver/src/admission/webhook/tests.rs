//! Webhooks against a server in memory.
