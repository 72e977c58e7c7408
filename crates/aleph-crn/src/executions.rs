//! Every program that this node knows.

use std::collections::HashMap;
use std::sync::Arc;

use aleph_types::ItemHash;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::execution::driver;
use crate::execution::handle::{Command, Execution};
use crate::execution::machine::{Event, State};
use crate::failure::Failure;
use crate::node::Node;

/// The programs by hash; bounded.
#[derive(Debug)]
pub(crate) struct Executions {
    known: Mutex<HashMap<ItemHash, Execution>>,
    most: usize,
}

impl Executions {
    pub(crate) fn new(most: usize) -> Self {
        Self { known: Mutex::new(HashMap::new()), most }
    }

    /// The program `hash`, if this node knows it.
    pub(crate) fn get(&self, hash: &ItemHash) -> Option<Execution> {
        self.known.lock().get(hash).cloned()
    }

    /// The program `hash`, known from now on. When too many are known, one that neither runs nor is
    /// allocated makes room.
    pub(crate) fn get_or_start(&self, node: &Arc<Node>, hash: &ItemHash) -> Result<Execution, Failure> {
        let mut known = self.known.lock();
        if let Some(execution) = known.get(hash) {
            return Ok(execution.clone());
        }
        if known.len() >= self.most {
            let idle = known.values().find(|execution| {
                let view = execution.view();
                !view.allocated && matches!(view.state, State::Idle | State::Failed { .. })
            });
            let Some(idle) = idle.cloned() else {
                return Err(Failure::Busy(format!("this node knows {} programs, its limit", self.most)));
            };
            idle.tell(Command::Event(Event::RemoveAsked));
            known.remove(&idle.hash);
        }
        let execution = driver::start(node, hash.clone());
        known.insert(hash.clone(), execution.clone());
        Ok(execution)
    }

    /// Forgets the program of one driver; a newer one of the same hash stays.
    pub(crate) fn remove(&self, hash: &ItemHash, driver: &mpsc::UnboundedSender<Command>) {
        let mut known = self.known.lock();
        if known.get(hash).is_some_and(|execution| execution.is_driven_by(driver)) {
            known.remove(hash);
        }
    }

    /// The running program that nobody has used for longest, if one may be stopped.
    pub(crate) fn coldest_idle(&self) -> Option<Execution> {
        let known = self.known.lock();
        let idle = known.values().filter_map(|execution| {
            let view = execution.view();
            let idle = view.state == (State::Running { active: 0, leaving: None }) && !view.persistent;
            idle.then(|| (view.last_used_ms, execution))
        });
        idle.min_by_key(|(used, _)| *used).map(|(_, execution)| execution.clone())
    }

    /// Every program, in the order of their hashes.
    pub(crate) fn all(&self) -> Vec<Execution> {
        let mut all: Vec<Execution> = self.known.lock().values().cloned().collect();
        all.sort_by(|a, b| a.hash.cmp(&b.hash));
        all
    }
}
