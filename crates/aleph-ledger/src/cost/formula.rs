//! The formulas, in the order of operations that the network's last digits depend on.

use aleph_types::content::PaymentType;

use super::{
    CostError, CostLine, CostType, Costing, Costs, Inputs, Machine, MachineKind, Quantity, Size, Volume, Way,
    Ways, Workload, WorkloadKind,
};
use crate::{Amount, ComputeUnit, Decimal, PriceTable, Prices, Product, ProductPrices, Settings};

/// Seconds of an hour.
const HOUR: u32 = 3600;
/// Least size that a file paid by credit counts, MiB.
const CREDIT_FILE_MIB: u64 = 25;
/// The least that a line paid by credit costs: one credit an hour, floored (`spec: payments.md §5`).
pub const MINIMUM_CREDIT: Amount = Amount::from_atto(277_777_777_777_777);

/// The prices of a second (of the holding): hold, stream, credit.
struct Rates {
    hold: Decimal,
    stream: Decimal,
    credit: Decimal,
}

impl Rates {
    fn of(prices: &Prices) -> Result<Self, CostError> {
        let hour = Decimal::from(HOUR);
        Ok(Self {
            hold: prices.holding.clone(),
            stream: prices.payg.divide(&hour)?,
            credit: prices.credit.divide(&hour)?,
        })
    }
}

/// A line of quantity × price; `minimum` raises the credit amount.
fn priced(
    entry: &ProductPrices,
    prices: &Prices,
    quantity: Quantity,
    minimum: bool,
) -> Result<(Costs, Inputs), CostError> {
    let rates = Rates::of(prices)?;
    let factor = quantity.factor();
    let way = |price: &Decimal, rate: Decimal| {
        let product = factor.times(&rate);
        Way { price: price.clone(), rate, product, raised_to: None }
    };
    let hold = way(&prices.holding, rates.hold);
    let stream = way(&prices.payg, rates.stream);
    let mut credit = way(&prices.credit, rates.credit);
    let mut costs = Costs {
        hold: hold.product.floor18()?,
        stream: stream.product.floor18()?,
        credit: credit.product.floor18()?,
    };
    if minimum && costs.credit < MINIMUM_CREDIT {
        costs.credit = MINIMUM_CREDIT;
        credit.raised_to = Some(MINIMUM_CREDIT);
    }
    let inputs = Inputs::Priced {
        product: entry.product,
        origin: entry.origin.clone(),
        quantity,
        ways: Box::new(Ways { hold, stream, credit }),
    };
    Ok((costs, inputs))
}

/// `max(vcpus, ceil(memory / memory of a unit))`.
fn compute_units(machine: &Machine, unit: ComputeUnit) -> u64 {
    let by_memory = machine.memory_mib.div_ceil(unit.memory_mib.max(1));
    u64::from(machine.vcpus.max(by_memory))
}

fn execution(
    entry: &ProductPrices,
    units: u64,
    multiplier: u64,
    minimum: bool,
) -> Result<CostLine, CostError> {
    let prices = entry.compute_unit_price.as_ref().ok_or(CostError::NoComputePrice(entry.product))?;
    let quantity = Quantity::ComputeUnits { units, multiplier };
    let (costs, inputs) = priced(entry, prices, quantity, minimum)?;
    Ok(CostLine {
        cost_type: CostType::Execution,
        name: entry.product.as_str().to_owned(),
        reference: None,
        costs,
        size_mib: None,
        inputs,
    })
}

fn volume(entry: &ProductPrices, volume: &Volume, minimum: bool) -> Result<CostLine, CostError> {
    let quantity = Quantity::Mebibytes(volume.size.exact());
    let (costs, inputs) = priced(entry, &entry.storage, quantity, minimum)?;
    Ok(CostLine {
        cost_type: volume.cost_type,
        name: volume.name.clone(),
        reference: volume.reference.clone(),
        costs,
        size_mib: volume.shown_mib,
        inputs,
    })
}

/// What the included disk is worth, at most what the volumes cost, as a negative line.
fn discount(entry: &ProductPrices, volumes: &[CostLine], units: u64) -> Result<CostLine, CostError> {
    let sum = |column: fn(&Costs) -> Amount| volumes.iter().map(|line| column(&line.costs)).sum::<Amount>();
    let volumes = Costs {
        hold: sum(|costs| costs.hold).checked()?,
        stream: sum(|costs| costs.stream).checked()?,
        credit: sum(|costs| costs.credit).checked()?,
    };
    let included_mib = u64::from(entry.unit().disk_mib).saturating_mul(units);
    let included = Decimal::from(included_mib);
    let rates = Rates::of(&entry.storage)?;
    let worth = [included.times(&rates.hold), included.times(&rates.stream), included.times(&rates.credit)];
    // The floor of a negative number: the discount may exceed the volumes by 1e-18.
    let line = |sum: Amount, worth: &Decimal| Decimal::from(sum).min(worth.clone()).negated().floor18();
    let costs = Costs {
        hold: line(volumes.hold, &worth[0])?,
        stream: line(volumes.stream, &worth[1])?,
        credit: line(volumes.credit, &worth[2])?,
    };
    Ok(CostLine {
        cost_type: CostType::VolumeDiscount,
        name: CostType::VolumeDiscount.as_str().to_owned(),
        reference: None,
        costs,
        size_mib: None,
        inputs: Inputs::Discount {
            product: entry.product,
            origin: entry.origin.clone(),
            included_mib,
            volumes,
            worth,
        },
    })
}

/// Compute units by product, in order of first appearance.
fn gpu_units(
    gpus: &[String],
    settings: &Settings,
    premium: &ProductPrices,
    standard: &ProductPrices,
) -> Result<Vec<(Product, u64)>, CostError> {
    let mut units: Vec<(Product, u64)> = Vec::new();
    for device in gpus {
        let model = settings.model_of(device).ok_or_else(|| CostError::UnknownGpu(device.clone()))?;
        let tier = [premium, standard].into_iter().find_map(|entry| {
            let tier = entry.tiers.iter().find(|tier| tier.model.as_deref() == Some(model))?;
            Some((entry.product, u64::from(tier.compute_units)))
        });
        let (product, size) = tier.ok_or_else(|| CostError::UnpricedGpu(model.to_owned()))?;
        match units.iter_mut().find(|(known, _)| *known == product) {
            Some((_, sum)) => *sum = sum.saturating_add(size),
            None => units.push((product, size)),
        }
    }
    Ok(units)
}

impl Workload {
    /// The product of the message as a whole (`spec: payments.md §4`).
    ///
    /// # Errors
    /// [`CostError`]: a graphics card that the network does not know or price.
    pub fn product(&self, table: &PriceTable, settings: &Settings) -> Result<Product, CostError> {
        let WorkloadKind::Machine(machine) = &self.kind else { return Ok(Product::Storage) };
        Ok(match &machine.kind {
            MachineKind::VProgram => Product::InstanceConfidential,
            MachineKind::Program { persistent: true, .. } => Product::ProgramPersistent,
            MachineKind::Program { persistent: false, .. } => Product::Program,
            MachineKind::Instance { confidential: true, .. } => Product::InstanceConfidential,
            MachineKind::Instance { gpus, .. } if gpus.is_empty() => Product::Instance,
            MachineKind::Instance { gpus, .. } => {
                let premium = table.product(Product::InstanceGpuPremium)?;
                let standard = table.product(Product::InstanceGpuStandard)?;
                dominant(&gpu_units(gpus, settings, premium, standard)?)
            }
        })
    }

    /// What the message costs at these prices, in all three ways whatever its payment.
    ///
    /// # Errors
    /// [`CostError`]: the network's prices or settings lack something, or an amount is absurd.
    pub fn price(&self, table: &PriceTable, settings: &Settings) -> Result<Costing, CostError> {
        let product = self.product(table, settings)?;
        let lines = match &self.kind {
            WorkloadKind::File { size, shown_mib } => {
                self.file_lines(*size, *shown_mib, table.product(product)?)?
            }
            WorkloadKind::Machine(machine) => match &machine.kind {
                MachineKind::Instance { gpus, .. } if !gpus.is_empty() => {
                    self.gpu_lines(machine, gpus, table, settings)?
                }
                _ => self.machine_lines(machine, table.product(product)?)?,
            },
        };
        let total: Amount = lines.iter().map(|line| line.costs.of(self.payment)).sum();
        Ok(Costing {
            payment: self.payment,
            product,
            lines,
            total: total.checked()?,
            unknown_files: self.unknown_files.clone(),
        })
    }

    fn pays_credit(&self) -> bool {
        self.payment == PaymentType::Credit
    }

    fn file_lines(
        &self,
        size: Option<Size>,
        shown_mib: Option<f64>,
        entry: &ProductPrices,
    ) -> Result<Vec<CostLine>, CostError> {
        let Some(mut size) = size.filter(|size| size.mib() != 0.0) else { return Ok(Vec::new()) };
        if self.pays_credit() && size.mib() < CREDIT_FILE_MIB as f64 {
            size = Size::Mib(CREDIT_FILE_MIB);
        }
        let file = Volume {
            cost_type: CostType::Storage,
            name: CostType::Storage.as_str().to_owned(),
            reference: Some(self.message.as_str().to_owned()),
            size,
            shown_mib,
        };
        Ok(vec![volume(entry, &file, self.pays_credit())?])
    }

    fn machine_lines(&self, machine: &Machine, entry: &ProductPrices) -> Result<Vec<CostLine>, CostError> {
        let multiplier = match machine.kind {
            MachineKind::Program { persistent: false, internet: true } => 2,
            _ => 1,
        };
        let units = compute_units(machine, entry.unit());
        let executions = vec![execution(entry, units, multiplier, self.pays_credit())?];
        self.with_volumes(executions, machine, entry, units)
    }

    fn gpu_lines(
        &self,
        machine: &Machine,
        gpus: &[String],
        table: &PriceTable,
        settings: &Settings,
    ) -> Result<Vec<CostLine>, CostError> {
        let premium = table.product(Product::InstanceGpuPremium)?;
        let standard = table.product(Product::InstanceGpuStandard)?;
        let mut units = gpu_units(gpus, settings, premium, standard)?;
        let dominant = dominant(&units);
        let by_resources = compute_units(machine, table.product(dominant)?.unit());
        let total: u64 = units.iter().map(|(_, units)| units).sum();
        if let Some((_, units)) = units.iter_mut().find(|(product, _)| *product == dominant) {
            *units += by_resources.saturating_sub(total);
        }
        let executions = units
            .into_iter()
            .map(|(product, units)| execution(table.product(product)?, units, 1, false))
            .collect::<Result<Vec<_>, _>>()?;
        // Disks are the premium product's whatever the cards, and what is included follows the resources.
        let included = compute_units(machine, premium.unit());
        self.with_volumes(executions, machine, premium, included)
    }

    fn with_volumes(
        &self,
        mut lines: Vec<CostLine>,
        machine: &Machine,
        entry: &ProductPrices,
        included_units: u64,
    ) -> Result<Vec<CostLine>, CostError> {
        let volumes = machine
            .volumes
            .iter()
            .map(|disk| volume(entry, disk, self.pays_credit()))
            .collect::<Result<Vec<_>, _>>()?;
        let discount = discount(entry, &volumes, included_units)?;
        lines.extend(volumes);
        lines.push(discount);
        Ok(lines)
    }
}

fn dominant(units: &[(Product, u64)]) -> Product {
    match units.iter().any(|(product, _)| *product == Product::InstanceGpuPremium) {
        true => Product::InstanceGpuPremium,
        false => Product::InstanceGpuStandard,
    }
}
