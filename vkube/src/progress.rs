//! Progress on the terminal: a line a step, with how long it took.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Shows the steps of something that takes a while.
pub struct Progress {
    bar: ProgressBar,
    step: Option<(String, Instant)>,
    interactive: bool,
    noted: String,
}

impl Progress {
    /// Progress on standard error; without a terminal, finished steps only.
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg}") {
            bar.set_style(style);
        }
        Self { interactive: !bar.is_hidden(), bar, step: None, noted: String::new() }
    }

    /// The step before is done; this one begins.
    pub fn begin(&mut self, step: impl Into<String>) {
        self.finish_step();
        let step = step.into();
        self.bar.set_message(format!("{step} …"));
        self.bar.enable_steady_tick(Duration::from_millis(80));
        self.step = Some((step, Instant::now()));
    }

    /// What the step is waiting for.
    pub fn note(&mut self, note: &str) {
        let Some((step, _)) = &self.step else { return };
        if self.interactive {
            self.bar.set_message(format!("{step} … {note}"));
        } else if self.noted != note {
            eprintln!("  {note}");
        }
        note.clone_into(&mut self.noted);
    }

    /// The step does not come to its end.
    pub fn abandon(&mut self) {
        self.step = None;
        self.bar.finish_and_clear();
    }

    /// The last step is done.
    pub fn finish(&mut self) {
        self.finish_step();
        self.bar.finish_and_clear();
    }

    fn finish_step(&mut self) {
        let Some((step, began)) = self.step.take() else { return };
        let line = format!("✓ {step} ({})", human(began.elapsed()));
        if self.interactive {
            self.bar.println(line);
        } else {
            eprintln!("{line}");
        }
    }
}

/// A duration as people say it.
pub fn human(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f32())
    }
}
