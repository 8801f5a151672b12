//! An embedded host cluster for trying and testing vkube.
