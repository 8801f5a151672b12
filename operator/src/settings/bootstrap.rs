//! What is applied inside a cluster before it is ready. Pure.

use kube::ResourceExt;
use kube::api::DynamicObject;

use crate::names::short_hash;

/// Manifests, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Of the text; another text is applied anew.
    pub hash: String,
    /// The objects, in the order of the text.
    pub objects: Vec<DynamicObject>,
}

/// Reads what is asked.
pub fn validate(asked: Option<&vkube_crds::Bootstrap>, wrong: &mut Vec<String>) -> Option<Bootstrap> {
    let asked = asked?;
    let objects: Vec<DynamicObject> = match serde_saphyr::from_multiple(&asked.manifests) {
        Ok(objects) => objects,
        Err(error) => {
            wrong.push(format!("bootstrap.manifests: {error}"));
            return None;
        }
    };
    for (number, object) in objects.iter().enumerate() {
        let kind = object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default();
        if kind.is_empty() || object.name_any().is_empty() {
            wrong.push(format!(
                "bootstrap.manifests: document {} needs apiVersion, kind and metadata.name",
                number + 1
            ));
        }
    }
    Some(Bootstrap { hash: short_hash(asked.manifests.as_bytes()), objects })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Bootstrap>, Vec<String>) {
        let mut wrong = Vec::new();
        let asked = vkube_crds::Bootstrap { manifests: text.into() };
        (validate(Some(&asked), &mut wrong), wrong)
    }

    #[test]
    fn manifests_are_objects_with_names() {
        let one = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
        let (found, wrong) = read(&format!("{one}---\n{one}"));
        assert_eq!((found.unwrap().objects.len(), wrong.len()), (2, 0));
        let (_, wrong) = read("apiVersion: v1\nkind: Namespace\nmetadata: {}\n");
        assert!(wrong[0].starts_with("bootstrap.manifests: document 1"), "{wrong:?}");
        assert!(!read("a: [").1.is_empty());
    }
}
