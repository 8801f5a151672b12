use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn life() -> Life {
    Life { validity: 365 * DAY, renew_before: 90 * DAY, now: Timestamp::from_second(1_800_000_000).unwrap() }
}

fn later(days: u32) -> Life {
    Life { now: life().now + days * DAY, ..life() }
}

fn server(names: &[&str]) -> Subject {
    Subject::Server { names: names.iter().map(|name| (*name).to_owned()).collect() }
}

fn client(user: &str, group: Option<&str>) -> Subject {
    Subject::Client { user: user.into(), group: group.map(ToOwned::to_owned) }
}

fn mk_authority() -> Authority {
    authority(None, "demo", life()).unwrap().0
}

#[test]
fn a_certificate_that_fits_is_kept_byte_for_byte() {
    let authority = mk_authority();
    for subject in [
        server(&["demo.ns.svc", "10.0.0.1", "::1"]),
        client("admin", Some("system:masters")),
        client("reader", None),
    ] {
        let (first, issued) = leaf(None, &subject, &authority, life()).unwrap();
        assert!(issued);
        let (second, issued) = leaf(Some(first.clone()), &subject, &authority, life()).unwrap();
        assert!(!issued, "{subject:?}");
        assert_eq!(first, second);
    }
}

#[test]
fn a_certificate_is_renewed_when_its_time_comes() {
    let authority = mk_authority();
    let subject = server(&["demo"]);
    let (first, _) = leaf(None, &subject, &authority, life()).unwrap();
    assert!(!leaf(Some(first.clone()), &subject, &authority, later(274)).unwrap().1);
    let (second, issued) = leaf(Some(first), &subject, &authority, later(276)).unwrap();
    assert!(issued);
    assert_eq!(not_after(&second.certificate), Some(later(276).now + 365 * DAY));
}

#[test]
fn a_certificate_for_other_names_is_reissued() {
    let authority = mk_authority();
    let (old, _) = leaf(None, &server(&["a"]), &authority, life()).unwrap();
    assert!(leaf(Some(old), &server(&["a", "b"]), &authority, life()).unwrap().1);
    let (old, _) = leaf(None, &client("a", None), &authority, life()).unwrap();
    assert!(leaf(Some(old), &client("a", Some("g")), &authority, life()).unwrap().1);
}

#[test]
fn a_certificate_of_another_authority_is_reissued() {
    let subject = server(&["a"]);
    let (old, _) = leaf(None, &subject, &mk_authority(), life()).unwrap();
    assert!(leaf(Some(old), &subject, &mk_authority(), life()).unwrap().1);
}

#[test]
fn a_key_that_does_not_belong_is_replaced() {
    let authority = mk_authority();
    let subject = server(&["a"]);
    let (one, _) = leaf(None, &subject, &authority, life()).unwrap();
    let (two, _) = leaf(None, &subject, &authority, life()).unwrap();
    let mixed = Pair { certificate: one.certificate, key: two.key };
    assert!(leaf(Some(mixed), &subject, &authority, life()).unwrap().1);
}

#[test]
fn an_authority_is_kept_until_it_no_longer_outlives_its_certificates() {
    let first = mk_authority();
    let (kept, made) = authority(Some(first.pair.clone()), "demo", later(9 * 365 - 1)).unwrap();
    assert!(!made);
    assert_eq!(kept, first);
    assert!(authority(Some(first.pair), "demo", later(9 * 365 + 1)).unwrap().1);
}

#[test]
fn damaged_pairs_are_replaced() {
    let broken = Pair { certificate: "not a certificate".into(), key: String::new() };
    assert!(authority(Some(broken.clone()), "demo", life()).unwrap().1);
    assert!(leaf(Some(broken), &server(&["a"]), &mk_authority(), life()).unwrap().1);
}

#[test]
fn a_leaf_is_no_authority() {
    let authority_of = mk_authority();
    let (pair, _) = leaf(None, &server(&["a"]), &authority_of, life()).unwrap();
    assert!(authority(Some(pair), "demo", life()).unwrap().1);
}
