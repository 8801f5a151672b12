//! The verbs of the command line, typed as a user does, one after the other in a cluster's life.

use std::os::unix::fs::symlink;

use vkube_e2e::Sandbox;

use crate::guest::Guest;

pub fn a_life_in_verbs(sandbox: &Sandbox) {
    let host = &sandbox.host;
    let created =
        host.ok("vkube create verbs --ephemeral --label tier=dev --set expose.extraSANs=[verbs.example.com]");
    assert!(created.contains("vkube connect verbs -n default"), "{created}");

    let listed = host.ok("vkube list -n default -l tier=dev");
    let lines: Vec<&str> = listed.lines().collect();
    assert!(
        lines[0].starts_with("NAME") && lines[0].contains("READY") && lines[0].contains("AGE"),
        "{listed}"
    );
    assert!(lines.len() == 2 && lines[1].starts_with("verbs") && lines[1].contains("Running"), "{listed}");
    assert!(host.ok("vkube ls -A").starts_with("NAMESPACE"));
    assert_eq!(host.ok("vkube list -l tier=dev -o name"), "virtualcluster.vkube.dev/verbs\n");
    assert_eq!(
        host.json("vkube list -l tier=dev -o json")["items"][0]["spec"]["expose"]["extraSANs"][0],
        "verbs.example.com"
    );

    let described = host.ok("vkube describe verbs");
    for section in ["Phase:", "Certificates:", "Conditions:", "Events:"] {
        assert!(described.contains(section), "{section}\n{described}");
    }
    let kubeconfig = host.home.join("verbs.kubeconfig");
    host.ok(&format!("vkube kubeconfig verbs --file {}", kubeconfig.display()));
    let tenant = host.with_kubeconfig(kubeconfig.clone());
    assert!(tenant.ok("kubectl get namespaces -o name").contains("namespace/default"));
    let namespace = host.ok("kubectl get virtualcluster verbs -o jsonpath={.status.hostNamespace}");
    let logged = host.ok(&format!("kubectl -n {namespace} logs verbs-0 --tail=5 --timestamps"));
    assert_eq!(host.ok("vkube logs verbs --tail=5 --timestamps"), logged);

    host.ok("vkube rotate verbs");
    host.ok("vkube pause verbs");
    assert!(host.ok("vkube list -l tier=dev").contains("Paused"));
    let refused = host.fails("vkube create verbs --no-wait");
    assert!(refused.contains("already exists"), "{refused}");
    host.ok("vkube resume verbs");

    host.ok("vkube sleep verbs");
    assert!(host.ok("vkube list -l tier=dev").contains("Sleeping"));
    let stuck = host.fails("vkube rotate verbs --timeout 30s");
    assert!(stuck.contains("sleeps"), "{stuck}");
    host.ok("vkube wake verbs");
    assert!(host.ok("vkube list -l tier=dev").contains("Running"));

    host.ok("vkube delete verbs");
    assert_eq!(host.ok("kubectl get virtualcluster verbs --ignore-not-found"), "");
    let unknown = host.fails("vkube delete verbs");
    assert!(unknown.contains("no VirtualCluster"), "{unknown}");
    host.ok("vkube rm verbs --ignore-not-found");
}

pub fn a_misspelt_field_is_refused(sandbox: &Sandbox) {
    let refused = sandbox.host.fails("vkube create misspelt --set replica=0");
    assert!(refused.contains("replica"), "{refused}");
    let stuck = sandbox.host.fails("vkube create misspelt --set version='\"1.7\"'");
    assert!(stuck.contains("InvalidSpec"), "{stuck}");
    sandbox.host.ok("vkube delete misspelt");
}

pub fn policies_are_shown_with_their_clusters(sandbox: &Sandbox) {
    let host = &sandbox.host;
    host.apply("apiVersion: vkube.dev/v1alpha1\nkind: VirtualClusterPolicy\nmetadata:\n  name: shown\nspec:\n  priority: 7\n");
    host.ok("vkube create shaped --policy shown --no-wait");
    host.until("vkube policy describe shown", |page| page.contains("shaped"));
    assert!(host.ok("vkube policy list").contains("shown"));
    host.ok("vkube delete shaped");
    host.ok("kubectl delete virtualclusterpolicy shown --wait=false");
}

pub fn kubectl_finds_its_plugin(sandbox: &Sandbox) {
    let guest = Guest::ready(sandbox, "plugged");
    let plugins = sandbox.host.home.join("plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    let program = plugins.join("kubectl-vkube");
    let _ = std::fs::remove_file(&program);
    symlink(sandbox.host.path.join("vkube"), program).unwrap();
    let path = plugins.display();
    let said = sandbox.host.ok(&format!("PATH={path}:$PATH kubectl vkube list -n default"));
    assert!(said.contains(&guest.name), "{said}");
    let help = sandbox.host.ok(&format!("PATH={path}:$PATH kubectl vkube sleep --help"));
    assert!(help.contains("kubectl vkube sleep"), "{help}");
}
