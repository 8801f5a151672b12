use super::*;

fn spec(direction: Direction, resource: &str) -> RuleSpec {
    RuleSpec::new(direction, resource)
}

fn compile(specs: &[RuleSpec]) -> Result<Rules, Vec<String>> {
    Rules::compile(specs, &|text| match text {
        "bad" => Err("undeclared reference to 'bad'".into()),
        _ => Ok(Expression::new(|inputs| Ok(inputs.value.clone()))),
    })
}

fn complaint(spec: RuleSpec) -> String {
    compile(&[spec]).unwrap_err().join("; ")
}

#[test]
fn kinds_with_code_of_their_own_are_tuned_and_others_get_a_rule() {
    let rules = compile(&[
        spec(Direction::ToHost, "ingresses.networking.k8s.io"),
        spec(Direction::ToHost, "certificates.cert-manager.io"),
        spec(Direction::FromHost, "storageclasses.storage.k8s.io"),
    ])
    .unwrap();
    assert!(rules.tuning(Kind::Ingress).unwrap().enabled);
    assert!(rules.has(Direction::ToHost, "certificates.cert-manager.io"));
    assert!(rules.has(Direction::FromHost, "storageclasses.storage.k8s.io"));
    assert!(!rules.has(Direction::ToHost, "storageclasses.storage.k8s.io"));
}

#[test]
fn config_maps_go_to_the_host_by_code_and_come_from_it_by_rule() {
    let mut from = spec(Direction::FromHost, "configmaps");
    from.mappings = vec![("shared/*".into(), "default/*".into())];
    let mut to = spec(Direction::ToHost, "configmaps");
    to.all = true;
    let rules = compile(&[from, to]).unwrap();
    assert!(rules.tuning(Kind::ConfigMap).unwrap().all);
    assert_eq!(rules.general.len(), 1);
}

#[test]
fn wrong_directions_and_names_are_told() {
    assert!(complaint(spec(Direction::ToHost, "storageclasses.storage.k8s.io")).contains("to the host"));
    assert!(complaint(spec(Direction::FromHost, "pods")).contains("from the host"));
    assert!(complaint(spec(Direction::ToHost, "widgets")).contains("plural.group"));
    let classes = "priorityclasses.scheduling.k8s.io";
    let both = [spec(Direction::ToHost, classes), spec(Direction::FromHost, classes)];
    assert!(compile(&both).unwrap_err()[0].contains("both ways"));
    let twice = [spec(Direction::ToHost, "a.example.com"), spec(Direction::ToHost, "a.example.com")];
    assert!(compile(&twice).unwrap_err()[0].contains("two rules"));
}

#[test]
fn what_pods_need_cannot_be_switched_off() {
    let off = RuleSpec { enabled: false, ..spec(Direction::ToHost, "services") };
    assert!(complaint(off).contains("switched off"));
    let off = RuleSpec { enabled: false, ..spec(Direction::ToHost, "poddisruptionbudgets.policy") };
    assert!(!compile(&[off]).unwrap().tuning(Kind::PodDisruptionBudget).unwrap().enabled);
}

#[test]
fn patches_are_checked() {
    let patched = |path: &str, change| {
        let patches = vec![PatchSpec { path: path.into(), change }];
        RuleSpec { patches, ..spec(Direction::ToHost, "a.example.com") }
    };
    let wrong = complaint(patched("spec.a", ChangeSpec::Expression("bad".into())));
    assert!(wrong.contains("undeclared reference"), "{wrong}");
    assert!(complaint(patched("spec..a", ChangeSpec::Expression("x".into()))).contains("not a path"));
    assert!(compile(&[patched("spec.a", ChangeSpec::Reference("Secret".into()))]).is_ok());
    let from = RuleSpec {
        direction: Direction::FromHost,
        ..patched("spec.a", ChangeSpec::Reference("Secret".into()))
    };
    assert!(complaint(from).contains("cannot be translated"));
}

#[test]
fn only_config_maps_and_secrets_can_be_synchronised_unasked() {
    assert!(complaint(RuleSpec { all: true, ..spec(Direction::ToHost, "services") }).contains("`all`"));
}
