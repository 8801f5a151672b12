//! Priority: pods get the priority of their class, and one class at most is the default.

use futures::future::BoxFuture;
use serde_json::Value;

use super::{Attributes, Operation, Plugin};
use crate::{
    metadata,
    registry::access::{bool_at, int_at, opt_int, opt_str, restore, set, str_at},
    status::ApiError,
};

const GROUP: &str = "scheduling.k8s.io";
const PREEMPT: &str = "PreemptLowerPriority";

pub struct Priority;

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn admit<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        pod: &'a mut Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if !attributes.is("", "pods") {
                return Ok(());
            }
            match (attributes.operation, attributes.old) {
                (Operation::Create, _) => prioritize(attributes, pod).await,
                (Operation::Update, Some(old)) => {
                    for field in ["/spec/priority", "/spec/preemptionPolicy"] {
                        if opt_int(pod, field).is_none() && opt_str(pod, field).is_none() {
                            restore(pod, old, field);
                        }
                    }
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }

    fn validate<'a>(
        &'a self,
        attributes: &'a Attributes<'a>,
        class: &'a Value,
        _warnings: &'a mut Vec<String>,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            if attributes.operation == Operation::Delete
                || !attributes.is(GROUP, "priorityclasses")
                || !bool_at(class, "/globalDefault")
            {
                return Ok(());
            }
            let classes = attributes.server.find_all(GROUP, "priorityclasses", "").await?;
            match default_class(&classes).filter(|d| metadata::name(d) != metadata::name(class)) {
                Some(other) => {
                    let why = format!(
                        "PriorityClass {} is already marked as default. Only one default can exist",
                        metadata::name(other)
                    );
                    Err(attributes.forbidden(class, &why))
                }
                None => Ok(()),
            }
        })
    }
}

fn default_class(classes: &[Value]) -> Option<&Value> {
    classes.iter().filter(|c| bool_at(c, "/globalDefault")).min_by_key(|c| int_at(c, "/value"))
}

async fn prioritize(attributes: &Attributes<'_>, pod: &mut Value) -> Result<(), ApiError> {
    let name = str_at(pod, "/spec/priorityClassName").to_owned();
    let class = if name.is_empty() {
        let classes = attributes.server.find_all(GROUP, "priorityclasses", "").await?;
        default_class(&classes).cloned()
    } else {
        let class = attributes.server.find(GROUP, "priorityclasses", "", &name).await?;
        if class.is_none() {
            let why = format!("no PriorityClass with name {name} was found");
            return Err(attributes.forbidden(pod, &why));
        }
        class
    };
    let priority = class.as_ref().map_or(0, |c| int_at(c, "/value"));
    let policy = class.as_ref().and_then(|c| opt_str(c, "/preemptionPolicy")).unwrap_or(PREEMPT).to_owned();
    if let Some(own) = opt_int(pod, "/spec/priority").filter(|own| *own != priority) {
        let why = format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller computed {priority} from the given PriorityClass name"
        );
        return Err(attributes.forbidden(pod, &why));
    }
    if let Some(own) = opt_str(pod, "/spec/preemptionPolicy").filter(|own| *own != policy) {
        let why = format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(attributes.forbidden(pod, &why));
    }
    if let (true, Some(class)) = (name.is_empty(), &class) {
        set(pod, "/spec/priorityClassName", metadata::name(class));
    }
    set(pod, "/spec/priority", priority);
    set(pod, "/spec/preemptionPolicy", policy);
    Ok(())
}
