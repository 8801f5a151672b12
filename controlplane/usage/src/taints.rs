//! Which taints are tolerated; of nodes and of devices alike.
//!
//! Source: <https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/>.

/// What keeps away whoever does not tolerate it.
#[derive(Clone, Copy, Debug)]
pub struct Taint<'a> {
    /// Its name.
    pub key: &'a str,
    /// Its value; none is the same as an empty one.
    pub value: Option<&'a str>,
    /// What it does.
    pub effect: &'a str,
}

/// What somebody puts up with; what is not given, or is empty, is any key or effect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Toleration<'a> {
    /// The name of the taint.
    pub key: Option<&'a str>,
    /// `Exists`, or `Equal` by default.
    pub operator: Option<&'a str>,
    /// The value, unless any will do.
    pub value: Option<&'a str>,
    /// The effect.
    pub effect: Option<&'a str>,
}

impl Toleration<'_> {
    /// Whether it is one for this taint.
    pub fn tolerates(&self, taint: Taint<'_>) -> bool {
        let is = |wanted: Option<&str>, given: &str| {
            wanted.is_none_or(|wanted| wanted.is_empty() || wanted == given)
        };
        is(self.key, taint.key)
            && is(self.effect, taint.effect)
            && (self.operator == Some("Exists")
                || self.value.unwrap_or_default() == taint.value.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_is_for_what_it_names() {
        let taint = Taint { key: "k", value: Some("v"), effect: "NoSchedule" };
        let by = |key, operator, value, effect| {
            let given = |text: &'static str| Some(text).filter(|text| *text != "-");
            let toleration = Toleration {
                key: given(key),
                operator: given(operator),
                value: given(value),
                effect: given(effect),
            };
            toleration.tolerates(taint)
        };
        assert!(by("k", "-", "v", "-") && by("k", "Equal", "v", "NoSchedule") && by("k", "Exists", "-", ""));
        assert!(by("-", "Exists", "-", "-"), "it tolerates everything");
        assert!(!by("k", "-", "-", "-") && !by("x", "Exists", "-", "-"));
        assert!(!by("k", "Exists", "-", "NoExecute"));
    }
}
