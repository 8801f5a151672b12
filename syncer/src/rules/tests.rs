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
    assert!(complaint(spec(Direction::ToHost, "ingressclasses.networking.k8s.io")).contains("to the host"));
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

#[test]
fn gw10_what_the_gateway_api_cannot_be_asked_for_is_refused_at_once() {
    let resource = |plural: &str| format!("{plural}.gateway.networking.k8s.io");
    let to = |plural: &str| spec(Direction::ToHost, &resource(plural));
    let from = |plural: &str| spec(Direction::FromHost, &resource(plural));
    let mapped = |pair: (&str, &str)| RuleSpec {
        mappings: vec![(pair.0.to_owned(), pair.1.to_owned())],
        ..from("gateways")
    };
    let refer = PatchSpec { path: "spec.a".into(), change: ChangeSpec::Reference("Secret".into()) };
    for (wrong, why) in [
        (to("gatewayclasses"), "cannot go to the host"),
        (from("httproutes"), "cannot come from the host"),
        (from("gateways"), "needs mappings"),
        (mapped(("infra", "shop/front")), "namespace/name"),
        (mapped(("infra/*", "shop/front")), "either both sides name an object"),
        (mapped(("infra/edge", "/front")), "needs a namespace"),
        (RuleSpec { patches: vec![refer], ..mapped(("infra/*", "shop/*")) }, "cannot be translated"),
    ] {
        let message = complaint(wrong);
        assert!(message.contains(why), "{message}");
    }
    assert!(compile(&[to("gateways"), mapped(("infra/*", "shop/*"))]).is_ok());
}

#[test]
fn metrics_are_shown_as_they_are() {
    let metrics = spec(Direction::FromHost, "pods.metrics.k8s.io");
    assert!(compile(std::slice::from_ref(&metrics)).unwrap().metrics);
    let mapped = RuleSpec { mappings: vec![("a/b".into(), "c/d".into())], ..metrics };
    assert!(complaint(mapped).contains("as it is"));
}

#[test]
fn contents_of_snapshots_may_be_named_once_they_go_to_the_host() {
    let snapshots = spec(Direction::ToHost, "volumesnapshots.snapshot.storage.k8s.io");
    let contents = spec(Direction::ToHost, "volumesnapshotcontents.snapshot.storage.k8s.io");
    let alone = compile(std::slice::from_ref(&snapshots)).unwrap();
    assert_eq!((alone.general[0].refused.len(), alone.general[0].references.len()), (1, 1));
    let both = compile(&[snapshots, contents]).unwrap();
    assert_eq!((both.general[0].refused.len(), both.general[0].references.len()), (0, 2));
}
