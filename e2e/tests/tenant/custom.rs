//! Custom resources.

use crate::{
    World,
    manifests::{SHIP, SHIPS},
};

pub fn a_custom_resource_has_columns_validation_and_scale(world: &World) {
    let (tenant, namespace) = (&world.tenant, world.namespace("harbour"));
    tenant.ok_with("kubectl create -f -", SHIPS);
    tenant.ok("kubectl wait --for=condition=Established crd/ships.sea.example.com --timeout=60s");
    let create = format!("kubectl -n {namespace} create -f -");
    tenant.ok_with(&create, SHIP);
    let table = tenant.ok(&format!("kubectl -n {namespace} get sh"));
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "PORT", "CREW"]);
    assert_eq!(rows[1], ["aurora", "Bergen", "7"]);

    let refused = |manifest: &str| tenant.run_with(&create, manifest).stderr;
    let said = refused(&SHIP.replace("aurora", "ghost").replace("Bergen", "Atlantis"));
    assert!(said.contains("no such port"), "{said}");
    let said = refused(&SHIP.replace("aurora", "ghost").replace("port: Bergen", "crew: 3"));
    assert!(said.contains("spec.port: Required value"), "{said}");
    let said = refused(&SHIP.replace("aurora", "ghost").replace("Bergen", "Bergen, sails: 3"));
    assert!(said.contains("unknown field \"spec.sails\""), "{said}");

    tenant.ok(&format!("kubectl -n {namespace} scale ship/aurora --replicas=9"));
    assert_eq!(tenant.ok(&format!("kubectl -n {namespace} get ship aurora -o jsonpath={{.spec.crew}}")), "9");
    assert!(tenant.ok("kubectl explain ship.spec.port").contains("Where it lies."));
    let whole = tenant.ok("kubectl explain ships.sea.example.com --recursive");
    assert!(whole.contains("KIND:       Ship") && whole.contains("    port\t<string> -required-"), "{whole}");
    assert!(whole.contains("  metadata\t<ObjectMeta>") && whole.contains("    ownerReferences"), "{whole}");
    let missing = tenant.fails("kubectl explain ship.spec.sails");
    assert_eq!(missing.trim(), "error: field \"sails\" does not exist");
    let changed = SHIP.replace("Bergen", "Oslo");
    let diff = tenant.run_with(&format!("kubectl -n {namespace} diff -f -"), &changed);
    assert!(diff.stdout.contains("-  port: Bergen") && diff.stdout.contains("+  port: Oslo"), "{diff:?}");

    tenant.ok("kubectl delete crd ships.sea.example.com --timeout=60s");
    tenant.until("kubectl api-resources -o name", |resources| !resources.contains("ships"));
}
