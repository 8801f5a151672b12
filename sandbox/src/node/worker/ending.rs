//! The end of a pod: its containers stopped in order, the last report, and the object's removal.

use std::{collections::BTreeSet, fs, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Preconditions},
};
use tokio::time::Instant;

use super::{
    super::{
        context::PodContext,
        status::{self, State},
    },
    Ending, Worker, grace_seconds, never_ran, remaining,
};

/// How long containers may take to end when the whole node stops.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

impl Worker {
    /// Stops all containers: first the ordinary ones, then the sidecars they may still need.
    pub(super) async fn stop_all(&mut self, grace: Duration) {
        let pod = self.context.pod();
        let sidecars: BTreeSet<_> =
            status::inits(&pod).into_iter().filter(status::is_sidecar).map(|init| init.name).collect();
        let mut objects = self.context.pod.clone();
        let began = Instant::now();
        let mut grace = grace;
        loop {
            let ordinary = self.stops.keys().any(|name| !sidecars.contains(name));
            for (name, stop) in &self.stops {
                if !ordinary || !sidecars.contains(name) {
                    stop.send_if_modified(|old| old.replace(grace) != Some(grace));
                }
            }
            if self.stops.is_empty() {
                break;
            }
            tokio::select! {
                Some((name, view)) = self.reports.recv() => self.take_report(name, view),
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(name) = ended {
                        self.stops.remove(&name);
                    }
                }
                Ok(()) = objects.changed() => grace = grace.min(remaining(&self.context.pod(), began)),
                Ok(()) = self.ending.changed() => {
                    if *self.ending.borrow() == Some(Ending::Gone) {
                        grace = Duration::ZERO;
                    }
                }
            }
        }
        while let Ok((name, view)) = self.reports.try_recv() {
            self.take_report(name, view);
        }
    }

    /// The end of the pod on this node.
    pub(super) async fn terminate(mut self) {
        let pod = self.context.pod();
        let ending = *self.ending.borrow();
        let grace = match ending {
            Some(Ending::Gone) => Duration::ZERO,
            Some(Ending::Shutdown) => SHUTDOWN_GRACE.min(Duration::from_secs(grace_seconds(&pod))),
            None => Duration::from_secs(grace_seconds(&pod)),
        };
        self.stop_all(grace).await;
        let ending = ending.or_else(|| *self.ending.borrow());
        if ending == Some(Ending::Shutdown) {
            return;
        }
        // What never ran will not run any more.
        for view in self.views.values_mut().filter(|view| !matches!(view.state, State::Ended(_))) {
            view.state = State::Ended(never_ran());
        }
        self.finished = true;
        if ending.is_none() {
            self.publish();
        }
        self.reporter.finish().await;
        if ending.is_none() {
            remove_object(&self.context).await;
        }
        if let Err(error) = fs::remove_dir_all(&self.context.directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %self.context.directory.display(), "pod directory left behind");
        }
    }
}

/// Tells the API server that nothing of the pod is left here.
async fn remove_object(context: &PodContext) {
    let pod = context.pod();
    let api: Api<Pod> = Api::namespaced(context.node.client.clone(), &pod.namespace().unwrap_or_default());
    let parameters = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
        ..DeleteParams::default()
    };
    let mut wait = Duration::from_millis(100);
    loop {
        match api.delete(&pod.name_any(), &parameters).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => tracing::debug!(%error, pod = pod.name_any(), "pod not removed, will try again"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}
