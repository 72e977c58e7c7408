use aleph_types::ItemHash;
use aleph_types::content::{PaymentType, ProgramContent};
use serde::Serialize;

/// What a program asks of a compute node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory, MiB.
    pub memory_mib: u32,
    /// Kept running, instead of started by requests.
    pub persistent: bool,
    /// GPUs to pass through.
    pub gpus: usize,
    /// How it is paid for.
    pub payment: PaymentType,
    /// The one node that the owner wants.
    pub demanded_node: Option<ItemHash>,
}

impl Default for Needs {
    /// The defaults of the network: one processor, 128 MiB, started by requests, paid by hold.
    fn default() -> Self {
        Self {
            vcpus: 1,
            memory_mib: 128,
            persistent: false,
            gpus: 0,
            payment: PaymentType::Hold,
            demanded_node: None,
        }
    }
}

impl Needs {
    /// What a PROGRAM message asks for.
    pub fn of_program(program: &ProgramContent) -> Self {
        Self {
            vcpus: program.base.resources.vcpus,
            memory_mib: program.base.resources.memory_mib,
            persistent: program.on.is_persistent(),
            gpus: program.base.demanded_gpus().len(),
            payment: program.base.payment_type(),
            demanded_node: program.base.demanded_node().cloned(),
        }
    }
}
