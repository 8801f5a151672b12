//! Label and field selectors
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>).

pub mod fields;
pub mod labels;

use crate::{index::Index, selectors::fields::FieldSelector, selectors::labels::LabelSelector};

/// Both selectors of a list or watch.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// On labels.
    pub labels: LabelSelector,
    /// On fields, already resolved to the kind's positions.
    pub fields: FieldSelector,
}

impl Selection {
    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object's index matches; `name` and `namespace` are those of its key.
    pub fn matches(&self, namespace: &str, name: &str, index: &[u8]) -> bool {
        let index = Index::new(index);
        self.labels.matches(|key| index.label(key)) && self.fields.matches(namespace, name, index)
    }
}
