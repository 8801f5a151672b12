//! Workloads, and what clients ask about themselves and about API groups.

use super::{
    ALL, API_EXTENSIONS, CREATE, GET_PATCH_UPDATE, GroupVersion, Plain, SCALE, cluster, namespaced,
    subresource,
};
use crate::registry::{Resource, apiregistration, apps, autoscaling, batch, events};

const APIREGISTRATION: GroupVersion = ("apiregistration.k8s.io", "v1");
const APPS: GroupVersion = ("apps", "v1");
const EVENTS: GroupVersion = ("events.k8s.io", "v1");
const AUTHENTICATION: GroupVersion = ("authentication.k8s.io", "v1");
const AUTHORIZATION: GroupVersion = ("authorization.k8s.io", "v1");
const AUTOSCALING_V2: GroupVersion = ("autoscaling", "v2");
const AUTOSCALING: GroupVersion = ("autoscaling", "v1");
const BATCH: GroupVersion = ("batch", "v1");

/// In the order of discovery.
pub(super) const RESOURCES: &[Resource] = &[
    cluster(
        APIREGISTRATION,
        "APIService",
        "apiservices",
        "apiservice",
        "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService",
        &apiregistration::api_service::ApiService,
    )
    .categories(API_EXTENSIONS)
    .subresources(&[subresource("status", "APIService", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "ControllerRevision",
        "controllerrevisions",
        "controllerrevision",
        "io.k8s.api.apps.v1.ControllerRevision",
        &apps::controller_revision::ControllerRevision,
    ),
    namespaced(
        APPS,
        "DaemonSet",
        "daemonsets",
        "daemonset",
        "io.k8s.api.apps.v1.DaemonSet",
        &apps::daemon_set::DaemonSet,
    )
    .short_names(&["ds"])
    .categories(ALL)
    .subresources(&[subresource("status", "DaemonSet", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "Deployment",
        "deployments",
        "deployment",
        "io.k8s.api.apps.v1.Deployment",
        &apps::deployment::Deployment,
    )
    .short_names(&["deploy"])
    .categories(ALL)
    .subresources(&[SCALE, subresource("status", "Deployment", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "ReplicaSet",
        "replicasets",
        "replicaset",
        "io.k8s.api.apps.v1.ReplicaSet",
        &apps::replica_set::ReplicaSet,
    )
    .short_names(&["rs"])
    .categories(ALL)
    .subresources(&[SCALE, subresource("status", "ReplicaSet", GET_PATCH_UPDATE)]),
    namespaced(
        APPS,
        "StatefulSet",
        "statefulsets",
        "statefulset",
        "io.k8s.api.apps.v1.StatefulSet",
        &apps::stateful_set::StatefulSet,
    )
    .short_names(&["sts"])
    .categories(ALL)
    .subresources(&[SCALE, subresource("status", "StatefulSet", GET_PATCH_UPDATE)]),
    namespaced(EVENTS, "Event", "events", "event", "io.k8s.api.events.v1.Event", &events::event::Event)
        .short_names(&["ev"])
        .stored_as("", "v1"),
    cluster(
        AUTHENTICATION,
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
        "io.k8s.api.authentication.v1.SelfSubjectReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHENTICATION,
        "TokenReview",
        "tokenreviews",
        "tokenreview",
        "io.k8s.api.authentication.v1.TokenReview",
        &Plain,
    )
    .verbs(CREATE),
    namespaced(
        AUTHORIZATION,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHORIZATION,
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHORIZATION,
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
        &Plain,
    )
    .verbs(CREATE),
    cluster(
        AUTHORIZATION,
        "SubjectAccessReview",
        "subjectaccessreviews",
        "subjectaccessreview",
        "io.k8s.api.authorization.v1.SubjectAccessReview",
        &Plain,
    )
    .verbs(CREATE),
    namespaced(
        AUTOSCALING_V2,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        &autoscaling::horizontal_pod_autoscaler::HorizontalPodAutoscaler,
    )
    .short_names(&["hpa"])
    .categories(ALL)
    .subresources(&[subresource("status", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)]),
    namespaced(
        AUTOSCALING,
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        "io.k8s.api.autoscaling.v1.HorizontalPodAutoscaler",
        &autoscaling::horizontal_pod_autoscaler::HorizontalPodAutoscalerV1,
    )
    .short_names(&["hpa"])
    .categories(ALL)
    .subresources(&[subresource("status", "HorizontalPodAutoscaler", GET_PATCH_UPDATE)])
    .stored_as("autoscaling", "v2"),
    namespaced(
        BATCH,
        "CronJob",
        "cronjobs",
        "cronjob",
        "io.k8s.api.batch.v1.CronJob",
        &batch::cron_job::CronJob,
    )
    .short_names(&["cj"])
    .categories(ALL)
    .subresources(&[subresource("status", "CronJob", GET_PATCH_UPDATE)]),
    namespaced(BATCH, "Job", "jobs", "job", "io.k8s.api.batch.v1.Job", &batch::job::Job)
        .categories(ALL)
        .subresources(&[subresource("status", "Job", GET_PATCH_UPDATE)]),
];
