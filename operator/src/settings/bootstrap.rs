//! What is applied inside a cluster before it is ready. Pure.

use kube::ResourceExt;
use kube::api::DynamicObject;
use vkube_crds::ManifestRef;

use crate::names::short_hash;

/// What a cluster begins with, checked as far as the spec itself says it.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Of the spec.
    pub own: Option<String>,
    /// In Secrets and ConfigMaps.
    pub refs: Vec<ManifestRef>,
}

/// Manifests as they are applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    /// Of the texts; other texts are applied anew.
    pub hash: String,
    /// The objects, in the order of the texts.
    pub objects: Vec<DynamicObject>,
}

/// Reads what is asked.
pub fn validate(asked: Option<&vkube_crds::Bootstrap>, wrong: &mut Vec<String>) -> Option<Bootstrap> {
    let asked = asked?;
    let own = asked.manifests.iter().map(|text| ("bootstrap.manifests".to_owned(), text.clone()));
    wrong.extend(read(&own.collect::<Vec<_>>()).err().into_iter().flatten());
    Some(Bootstrap { own: asked.manifests.clone(), refs: asked.manifest_refs.clone() })
}

/// Reads texts, each with where it was found. The error lists everything that is wrong, as `place: why`.
pub fn read(texts: &[(String, String)]) -> Result<Manifests, Vec<String>> {
    let (mut objects, mut wrong) = (Vec::new(), Vec::new());
    for (place, text) in texts {
        match serde_saphyr::from_multiple::<DynamicObject>(text) {
            Ok(found) => {
                let nameless = found.iter().enumerate().filter(|(_, object)| !has_name(object));
                wrong.extend(nameless.map(|(number, _)| {
                    format!("{place}: document {} needs apiVersion, kind and metadata.name", number + 1)
                }));
                objects.extend(found);
            }
            Err(error) => wrong.push(format!("{place}: {error}")),
        }
    }
    let whole: Vec<_> = texts.iter().map(|(_, text)| text.as_str()).collect();
    if wrong.is_empty() {
        Ok(Manifests { hash: short_hash(whole.join("\n---\n").as_bytes()), objects })
    } else {
        Err(wrong)
    }
}

fn has_name(object: &DynamicObject) -> bool {
    let kind = object.types.as_ref().map(|types| types.kind.as_str()).unwrap_or_default();
    !kind.is_empty() && !object.name_any().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> Result<Manifests, Vec<String>> {
        read(&texts.iter().map(|text| ("here".to_owned(), (*text).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn manifests_are_objects_with_names() {
        let one = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
        assert_eq!(found(&[&format!("{one}---\n{one}"), one]).unwrap().objects.len(), 3);
        let wrong = found(&[one, "apiVersion: v1\nkind: Namespace\nmetadata: {}\n"]).unwrap_err();
        assert!(wrong[0].starts_with("here: document 1"), "{wrong:?}");
        assert!(found(&["a: ["]).is_err());
    }

    #[test]
    fn another_text_anywhere_is_another_hash() {
        let hash = |texts: &[&str]| found(texts).unwrap().hash;
        let [a, b] =
            ["a", "b"].map(|name| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}"));
        assert_eq!(hash(&[&a, &b]), hash(&[&a, &b]));
        assert_ne!(hash(&[&a, &b]), hash(&[&b, &a]));
        assert_ne!(hash(&[&a]), hash(&[&a, &a]));
    }
}
