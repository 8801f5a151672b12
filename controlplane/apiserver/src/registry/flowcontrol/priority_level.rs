//! Priority levels.

mod validate;

use jiff::Timestamp;
use serde_json::Value;

use crate::field::Errors;
use crate::registry::access::{at, get, get_mut, make_map, set_default, set_nonzero, str_at};
use crate::registry::kind::{Column, Kind, Writer};
use crate::table::{AGE, NAME, age, column, name};

/// The rules of priority levels.
pub struct PriorityLevelConfiguration;

impl Kind for PriorityLevelConfiguration {
    fn default(&self, level: &mut Value) {
        if let Some(exempt) = get_mut(level, "/spec/exempt") {
            set_default(exempt, "/nominalConcurrencyShares", 0);
            set_default(exempt, "/lendablePercent", 0);
        }
        if let Some(limited) = get_mut(level, "/spec/limited") {
            set_default(limited, "/nominalConcurrencyShares", 30);
            set_default(limited, "/lendablePercent", 0);
            if let Some(queuing) = get_mut(limited, "/limitResponse/queuing") {
                set_nonzero(queuing, "/handSize", 8);
                set_nonzero(queuing, "/queues", 64);
                set_nonzero(queuing, "/queueLengthLimit", 50);
            }
        }
        make_map(level, "/status");
    }

    fn prepare_create(&self, level: &mut Value, _writer: &Writer<'_>) {
        make_map(level, "/status");
    }

    fn validate(&self, level: &Value) -> Errors {
        validate::validate(level)
    }

    fn validate_status_update(&self, level: &Value, _old: &Value) -> Errors {
        let mut errors = Errors::default();
        super::validate_conditions(&mut errors, level);
        errors
    }

    fn generation_fields(&self) -> &'static [&'static str] {
        &["spec"]
    }

    fn columns(&self) -> &'static [Column] {
        COLUMNS
    }

    fn cells(&self, level: &Value, now: Timestamp) -> Vec<Value> {
        let limited = at(level, "/spec/limited");
        let shown = |path| get(limited, path).cloned().unwrap_or_else(|| "<none>".into());
        vec![
            name(level),
            str_at(level, "/spec/type").into(),
            shown("/nominalConcurrencyShares"),
            shown("/limitResponse/queuing/queues"),
            shown("/limitResponse/queuing/handSize"),
            shown("/limitResponse/queuing/queueLengthLimit"),
            age(level, now),
        ]
    }
}

const COLUMNS: &[Column] = &[
    NAME,
    column(
        "Type",
        "string",
        "`type` indicates whether this priority level is subject to limitation on request execution.  A value of `\"Exempt\"` means that requests of this priority level are not subject to a limit (and thus are never queued) and do not detract from the capacity made available to other priority levels.  A value of `\"Limited\"` means that (a) requests of this priority level _are_ subject to limits and (b) some of the server's limited capacity is made available exclusively to this priority level. Required.",
    ),
    column(
        "NominalConcurrencyShares",
        "string",
        "`nominalConcurrencyShares` (NCS) contributes to the computation of the NominalConcurrencyLimit (NominalCL) of this level. This is the number of execution seats available at this priority level. This is used both for requests dispatched from this priority level as well as requests dispatched from other priority levels borrowing seats from this level. The server's concurrency limit (ServerCL) is divided among the Limited priority levels in proportion to their NCS values:\n\nNominalCL(i)  = ceil( ServerCL * NCS(i) / sum_ncs ) sum_ncs = sum[priority level k] NCS(k)\n\nBigger numbers mean a larger nominal concurrency limit, at the expense of every other priority level.\n\nIf not specified, this field defaults to a value of 30.\n\nSetting this field to zero supports the construction of a \"jail\" for this priority level that is used to hold some request(s)",
    ),
    column(
        "Queues",
        "string",
        "`queues` is the number of queues for this priority level. The queues exist independently at each apiserver. The value must be positive.  Setting it to 1 effectively precludes shufflesharding and thus makes the distinguisher method of associated flow schemas irrelevant.  This field has a default value of 64.",
    ),
    column(
        "HandSize",
        "string",
        "`handSize` is a small positive number that configures the shuffle sharding of requests into queues.  When enqueuing a request at this priority level the request's flow identifier (a string pair) is hashed and the hash value is used to shuffle the list of queues and deal a hand of the size specified here.  The request is put into one of the shortest queues in that hand. `handSize` must be no larger than `queues`, and should be significantly smaller (so that a few heavy flows do not saturate most of the queues).  See the user-facing documentation for more extensive guidance on setting this field.  This field has a default value of 8.",
    ),
    column(
        "QueueLengthLimit",
        "string",
        "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given queue of this priority level at a time; excess requests are rejected.  This value must be positive.  If not specified, it will be defaulted to 50.",
    ),
    AGE,
];
