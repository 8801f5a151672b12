//! Which images are vkube's own: those run as real processes, all others are simulated.

/// Whether two image references name the same repository; registry, tag and digest do not matter when
/// either side leaves the registry out.
pub(crate) fn same_repository(image: &str, own: &str) -> bool {
    let (image, own) = (repository(image), repository(own));
    let bare = |repository: &str| !repository.contains('/');
    image == own || ((bare(own) || bare(image)) && last(image) == last(own))
}

/// The reference without tag and digest.
fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    match image.rsplit_once(':') {
        // A colon before the last slash belongs to the registry's port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

fn last(repository: &str) -> &str {
    repository.rsplit('/').next().unwrap_or(repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_repositories_only() {
        assert!(same_repository("vkube:latest", "vkube:latest"));
        assert!(same_repository("ghcr.io/vkube/vkube:0.1.0", "ghcr.io/vkube/vkube@sha256:abc"));
        assert!(same_repository("registry:5000/vkube:1", "vkube:latest"));
        assert!(same_repository("ghcr.io/vkube/vkube:1", "vkube"));
        assert!(!same_repository("registry/other/vkube:1", "ghcr.io/vkube/vkube:1"));
        assert!(!same_repository("nginx", "vkube"));
        assert!(!same_repository("ghcr.io/vkube/vkube-tools:1", "ghcr.io/vkube/vkube:1"));
    }
}
