//! What others have to say before the cluster is ready.

use super::steps::Attempt;
use super::{Report, Stop};
use crate::conditions::{Check, closed_gates};
use crate::reason::Reason;

/// Looks whether everybody has said so. Whoever changes such a condition wakes the cluster.
pub(super) fn ensure(attempt: &Attempt<'_>, report: &mut Report) -> Result<(), Stop> {
    let gates = &attempt.cluster.spec.readiness_gates;
    if gates.is_empty() {
        return Ok(());
    }
    let conditions = attempt.cluster.status.as_ref().map(|status| status.conditions.as_slice());
    let closed = closed_gates(gates, conditions.unwrap_or_default());
    if closed.is_empty() {
        report.checks.gates = Check::applied("every readiness gate is open");
        return Ok(());
    }
    let message = closed.join("; ");
    report.checks.gates = Check::Failed(Reason::ReadinessGatesNotReady, message.clone());
    Err(Stop::Waiting(message))
}
