//! Cron jobs.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::job::{default_job_spec, spec_warnings, validate_spec};
use super::schedule;
use crate::field::{Errors, Path, Reason};
use crate::registry::access::{at, bool_at, count_at, get, has, make_map, opt_str, set_default, str_at};
use crate::registry::core::pod_spec::name_warnings;
use crate::registry::kind::{Column, Kind, Writer};
use crate::registry::workload::{self, SPEC};
use crate::table::{AGE, NAME, age, column, containers, label_selector, name, shown_or, since, wide};
use crate::validation::fields::one_of;

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

    fn warnings(&self, job: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings = Vec::new();
        if old.is_none() {
            warnings.extend(name_warnings(job, "Pod names and hostnames"));
        }
        warnings.extend(spec_warnings(job, old, "spec.jobTemplate.spec"));
        if old.is_some() && str_at(job, "/spec/schedule").contains("TZ") {
            warnings.push(
                "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".into(),
            );
        }
        warnings
    }

    fn validate(&self, job: &Value) -> Errors {
        // A job's name gets a suffix of 11 characters, and has 63 at most.
        const NAME_MAX: usize = 52;
        let mut errors = validate(job, None);
        let name = str_at(job, "/metadata/name");
        if name.len() > NAME_MAX {
            let path = Path::new("metadata");
            errors.invalid_str(&path.child("name"), name, "must be no more than 52 characters");
        }
        errors
    }

    fn validate_update(&self, job: &Value, old: &Value) -> Errors {
        validate(job, Some(old))
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

fn validate(job: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let spec = at(job, "/spec");
    let path = SPEC.child("schedule");
    let text = str_at(spec, "/schedule");
    if text.is_empty() {
        errors.required(&path, "");
    } else {
        if let Err(why) = schedule::validate(text) {
            errors.invalid_str(&path, text, &why);
        }
        let zoned = old.is_some_and(|old| str_at(old, "/spec/schedule").contains("TZ"));
        if text.contains("TZ") && !zoned {
            errors.invalid_str(
                &path,
                text,
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            );
        } else if text.contains("TZ") && has(spec, "/timeZone") {
            errors.invalid_str(&path, text, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
        }
    }
    workload::validate_counts(&mut errors, job, &["startingDeadlineSeconds"]);
    if old.is_none_or(|old| at(old, "/spec/timeZone") != at(spec, "/timeZone")) {
        validate_time_zone(&mut errors, &SPEC.child("timeZone"), spec);
    }
    one_of(&mut errors, &SPEC, spec, "concurrencyPolicy", &["Allow", "Forbid", "Replace"]);
    let template = SPEC.child("jobTemplate");
    let job_spec = at(spec, "/jobTemplate/spec");
    let job_path = template.child("spec");
    validate_spec(&mut errors, &job_path, job_spec);
    if let Some(selector) = get(job_spec, "/selector") {
        errors.invalid(&job_path.child("selector"), selector, "`selector` will be auto-generated");
    }
    if bool_at(job_spec, "/manualSelector") {
        errors.not_supported(&job_path.child("manualSelector"), &true.into(), &["nil", "false"]);
    }
    let limits = &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    workload::validate_counts(&mut errors, job, limits);
    errors
}

/// A name of the IANA database.
fn validate_time_zone(errors: &mut Errors, path: &Path<'_>, spec: &Value) {
    const PART_MAX: usize = 14;
    let Some(zone) = opt_str(spec, "/timeZone") else { return };
    if zone.is_empty() {
        let why = "timeZone must be nil or non-empty string";
        return errors.push(path, Reason::Invalid, format!("Invalid value: \"\": {why}"));
    }
    let is_part = |part: &str| {
        !part.is_empty()
            && part.len() <= PART_MAX
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_+".contains(&c))
    };
    if !zone.split('/').all(is_part) {
        return errors.invalid_str(path, zone, &format!("unknown time zone {zone}"));
    }
    if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.invalid_str(path, zone, why);
    }
    // Names are looked up whatever their case, but are files to the real server.
    let known = TimeZone::get(zone).is_ok_and(|found| found.iana_name() == Some(zone));
    if !known && zone != "Local" {
        errors.invalid_str(path, zone, &format!("unknown time zone {zone}"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn time_zones_are_those_of_the_database() {
        let told = |zone: &str| {
            let mut errors = Errors::default();
            validate_time_zone(&mut errors, &SPEC.child("timeZone"), &json!({"timeZone": zone}));
            errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for zone in ["UTC", "Etc/UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            assert_eq!(told(zone), [""; 0], "{zone}");
        }
        for zone in ["Mars/Olympus", "europe/berlin", "Europe/", "-a"] {
            assert_eq!(
                told(zone),
                [format!("spec.timeZone: Invalid value: {zone:?}: unknown time zone {zone}")],
                "{zone}"
            );
        }
    }
}
