//! Cron jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::job::default_job_spec;
use crate::registry::access::{count_at, get, has, make_map, set_default, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, containers, label_selector, name, shown_or, since, wide};

/// The rules of cron jobs.
pub struct CronJob;

impl Kind for CronJob {
    fn default(&self, job: &mut Value) {
        set_default(job, "/spec/concurrencyPolicy", "Allow");
        set_default(job, "/spec/suspend", false);
        set_default(job, "/spec/successfulJobsHistoryLimit", 3);
        set_default(job, "/spec/failedJobsHistoryLimit", 1);
        make_map(job, "/spec/jobTemplate/metadata");
        default_job_spec(job, "/spec/jobTemplate/spec");
        make_map(job, "/status");
    }

    fn prepare_create(&self, job: &mut Value, _writer: &Writer<'_>) {
        make_map(job, "/status");
    }

    fn prepare_status_update(&self, job: &mut Value, _old: &Value) {
        make_map(job, "/status");
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, job: &Value, now: Timestamp) -> Vec<Value> {
        let [names, images] = containers(job, "/spec/jobTemplate/spec/template/spec/containers");
        let suspended = match get(job, "/spec/suspend").and_then(Value::as_bool) {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let last = if has(job, "/status/lastScheduleTime") {
            since(job, "/status/lastScheduleTime", now)
        } else {
            "<none>".into()
        };
        vec![
            name(job),
            str_at(job, "/spec/schedule").into(),
            shown_or(job, "/spec/timeZone", "<none>"),
            suspended.into(),
            count_at(job, "/status/active").into(),
            last.into(),
            age(job, now),
            names,
            images,
            label_selector(job, "/spec/jobTemplate/spec/selector"),
        ]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column("Schedule", "string", "The schedule in Cron format, see https://en.wikipedia.org/wiki/Cron."),
    column(
        "Timezone",
        "string",
        "The time zone name for the given schedule, see https://en.wikipedia.org/wiki/List_of_tz_database_time_zones. If not specified, this will default to the time zone of the kube-controller-manager process. The set of valid time zone names and the time zone offset is loaded from the system-wide time zone database by the API server during CronJob validation and the controller manager during execution. If no system-wide time zone database can be found a bundled version of the database is used instead. If the time zone name becomes invalid during the lifetime of a CronJob or due to a change in host configuration, the controller will stop creating new new Jobs and will create a system event with the reason UnknownTimeZone. More information can be found in https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones",
    ),
    column(
        "Suspend",
        "boolean",
        "This flag tells the controller to suspend subsequent executions, it does not apply to already started executions.  Defaults to false.",
    ),
    column("Active", "integer", "A list of pointers to currently running jobs."),
    column(
        "Last Schedule",
        "string",
        "Information when was the last time the job was successfully scheduled.",
    ),
    AGE,
    wide("Containers", "string", "Names of each container in the template."),
    wide("Images", "string", "Images referenced by each container in the template."),
    wide(
        "Selector",
        "string",
        "A label query over pods that should match the pod count. Normally, the system sets this field for you. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors",
    ),
];
