//! Keeps a virtual cluster and its host namespace in step; serves its DNS and its pods' streams.
