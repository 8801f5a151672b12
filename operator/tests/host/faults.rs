//! What goes wrong between the operator and the host.

use std::sync::Mutex;

use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::sync::watch;
use vkube_apiserver::body::{Response, full};

/// What is to go wrong with the operator's writes.
#[derive(Debug)]
enum Plan {
    /// The operator dies at a write, which the host sees, before it hears the answer. Until the next write nothing changes
    /// on the host, so every other point at which it can die is as one of these.
    Die { writes_before: usize },
    /// The host refuses so many writes.
    Refuse { code: u16, times: usize },
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// The host sees it and the operator never hears of it.
    Unheard,
    /// The host never sees it: the operator is dead.
    Lost,
    Refused(u16),
}

/// What goes wrong between the operator and the host; nothing by default.
pub struct Faults {
    plan: Mutex<Option<Plan>>,
    died: watch::Sender<bool>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { plan: Mutex::default(), died: watch::Sender::new(false) }
    }
}

impl Faults {
    /// From now on the operator dies after so many writes.
    pub fn die_after(&self, writes_before: usize) {
        *self.plan.lock().unwrap() = Some(Plan::Die { writes_before });
        self.died.send_replace(false);
    }

    /// The host refuses the next writes.
    pub fn refuse(&self, code: u16, times: usize) {
        *self.plan.lock().unwrap() = Some(Plan::Refuse { code, times });
    }

    /// From now on all is well.
    pub fn heal(&self) {
        *self.plan.lock().unwrap() = None;
        self.died.send_replace(false);
    }

    /// Waits until the operator has died.
    pub async fn death(&self) {
        let mut died = self.died.subscribe();
        died.wait_for(|died| *died).await.unwrap();
    }

    /// The operator has died.
    pub fn strike(&self) {
        self.died.send_replace(true);
    }

    /// What becomes of a request.
    pub fn judge(&self, is_write: bool) -> Verdict {
        if *self.died.borrow() {
            return Verdict::Lost;
        }
        let mut plan = self.plan.lock().unwrap();
        match plan.as_mut() {
            Some(Plan::Die { writes_before: 0 }) if is_write => Verdict::Unheard,
            Some(Plan::Die { writes_before }) if is_write => {
                *writes_before -= 1;
                Verdict::Pass
            }
            Some(Plan::Refuse { code, times }) if is_write && *times > 0 => {
                *times -= 1;
                Verdict::Refused(*code)
            }
            _ => Verdict::Pass,
        }
    }
}

/// A refusal as the host words it.
pub fn refusal(code: u16) -> Response {
    let reason = if code == 409 { "Conflict" } else { "InternalError" };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": "a storm passes"});
    let response = http::Response::builder().status(code).header(CONTENT_TYPE, "application/json");
    response.body(full(status.to_string())).unwrap()
}
