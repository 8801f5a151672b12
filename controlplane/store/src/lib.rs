//! A revisioned key-value log with watches, kept in SQLite.
