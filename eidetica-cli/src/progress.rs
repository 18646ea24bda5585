//! Owns progress on a terminal; in a pipe there is none.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::Output;

/// Shows how far something is while it exists.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Progress towards a number of bytes, or without an end if that is not known.
    pub(crate) fn bytes(output: &Output, total: Option<u64>) -> Self {
        let Some(total) = total else {
            return Self::entries(output);
        };
        Self::start(output, || {
            let style = ProgressStyle::with_template("{wide_bar} {bytes}/{total_bytes} {msg}");
            ProgressBar::new(total)
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        })
    }

    /// Progress without an end.
    pub(crate) fn entries(output: &Output) -> Self {
        Self::start(output, ProgressBar::new_spinner)
    }

    fn start(output: &Output, bar: impl FnOnce() -> ProgressBar) -> Self {
        let is_shown = output.is_for_people() && io::stderr().is_terminal();
        Self(is_shown.then(bar))
    }

    /// Shows a place and what is there.
    pub(crate) fn set(&self, position: u64, text: String) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
            bar.set_message(text);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
