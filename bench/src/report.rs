//! Figures as lines for people, or as one JSON document.

use std::fmt::{Arguments, Display};

use serde_json::{Value, json};

use crate::machine;

/// What a scenario found.
pub(crate) struct Report {
    scenario: &'static str,
    machine: String,
    as_json: bool,
    data: Vec<Value>,
}

impl Report {
    pub(crate) fn new(scenario: &'static str, as_json: bool) -> Self {
        let machine = machine::describe();
        let report = Self { scenario, machine, as_json, data: Vec::new() };
        report.line("machine", format_args!("{}", report.machine));
        report
    }

    /// A line for people.
    pub(crate) fn line(&self, name: impl Display, text: Arguments<'_>) {
        if !self.as_json {
            println!("{name:<9} {text}");
        }
    }

    /// Figures for programs.
    pub(crate) fn data(&mut self, figures: Value) {
        self.data.push(figures);
    }

    /// Prints the document, if one was asked for.
    pub(crate) fn finish(self) {
        if self.as_json {
            println!(
                "{}",
                json!({ "scenario": self.scenario, "machine": self.machine, "figures": self.data })
            );
        }
    }
}
