//! Follows collections of a Kubernetes API server for ever: everything there is, then each change.
//!
//! ```text
//!  API server ──lines──► Follower (one for all kinds) ──JSON──► next::<K>() ──Event<K>──► a cache, a store, a channel
//! ```
//!
//! The stream itself knows no kinds: it hands on the text of an object, and only the last step reads that text into a
//! type. A process that follows forty kinds therefore carries this code once and not forty times, which is a good part
//! of what a virtual cluster costs in memory.
//!
//! See "Efficient detection of changes" in the Kubernetes API concepts, and KEP-3157 for streamed lists.

pub mod feed;
mod follower;
mod frame;
mod source;

pub use follower::Follower;
pub use source::Source;

/// What following a collection tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<T> {
    /// Everything there is follows, up to [`Event::Listed`]; what is not told by then exists no more.
    Restart,
    /// An object that exists.
    Apply(T),
    /// An object that existed until now.
    Delete(T),
    /// Everything there was at this version has been told.
    Listed(String),
}

impl<T> Event<T> {
    /// The same event about what `change` makes of its object.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Event<U> {
        match self {
            Self::Restart => Event::Restart,
            Self::Apply(object) => Event::Apply(change(object)),
            Self::Delete(object) => Event::Delete(change(object)),
            Self::Listed(version) => Event::Listed(version),
        }
    }

    /// As [`Self::map`], for what may fail.
    pub fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<Event<U>, E> {
        Ok(match self {
            Self::Restart => Event::Restart,
            Self::Apply(object) => Event::Apply(read(object)?),
            Self::Delete(object) => Event::Delete(read(object)?),
            Self::Listed(version) => Event::Listed(version),
        })
    }
}
