//! Cost lines told step by step, as JSON: stored beside each line, served by
//! `GET /api/v1/price/{hash}/explain`.

use serde_json::{Map, Value, json};

use crate::{Amount, CostLine, Costing, Costs, Inputs, Origin, Quantity, Way};

/// What is counted in a column.
#[derive(Clone, Copy)]
struct Column {
    key: &'static str,
    /// Of the network's price.
    priced_in: &'static str,
    /// Of the amount.
    unit: &'static str,
    by_hour: bool,
}

const HOLD: Column = Column { key: "hold", priced_in: "tokens", unit: "tokens", by_hour: false };
const STREAM: Column =
    Column { key: "stream", priced_in: "tokens/hour", unit: "tokens/second", by_hour: true };
const CREDIT: Column =
    Column { key: "credit", priced_in: "credits/hour", unit: "credits/second", by_hour: true };

fn origin(origin: &Origin) -> Value {
    match origin {
        Origin::Default => json!({"kind": "default"}),
        Origin::Aggregate => json!({"kind": "aggregate"}),
        Origin::Element { message, time } => {
            json!({"kind": "message", "item_hash": message, "time": time.as_secs_f64()})
        }
    }
}

fn quantity(quantity: &Quantity) -> (Value, String) {
    match quantity {
        Quantity::ComputeUnits { units, multiplier } => {
            let counted = if *units == 1 { "compute unit" } else { "compute units" };
            let internet = match multiplier {
                1 => String::new(),
                more => format!(" × {more} (internet)"),
            };
            let told = json!({"compute_units": units, "multiplier": multiplier});
            (told, format!("{units} {counted}{internet}"))
        }
        Quantity::Mebibytes(size) => (json!({"mib": size.to_string()}), format!("{size} MiB")),
    }
}

fn way(column: Column, way: &Way, amount: Amount, quantity: &str) -> Value {
    let Column { priced_in, unit, .. } = column;
    let rate = match column.by_hour {
        true => format!("{} {priced_in} ÷ 3600", way.price),
        false => format!("{} {priced_in}", way.price),
    };
    let raised = match way.raised_to {
        Some(_) => ", raised to the least of 1 credit/hour",
        None => "",
    };
    json!({
        "price": way.price.to_string(),
        "rate": way.rate.to_string(),
        "product": way.product.to_string(),
        "minimum": way.raised_to.map(|least| least.to_string()),
        "amount": amount.to_string(),
        "formula": format!("{quantity} × {rate} = {} → {amount} {unit} (floor to 18 decimals{raised})", way.product),
    })
}

impl CostLine {
    /// The line with everything that it was computed from.
    pub fn explain(&self) -> Value {
        let mut told = Map::new();
        told.insert("type".into(), self.cost_type.as_str().into());
        told.insert("name".into(), self.name.clone().into());
        told.insert("ref".into(), self.reference.clone().into());
        let Costs { hold, stream, credit } = self.costs;
        match &self.inputs {
            Inputs::Priced { product, origin: from, quantity: many, ways } => {
                let (counted, words) = quantity(many);
                told.insert("product".into(), product.as_str().into());
                told.insert("origin".into(), origin(from));
                told.insert("quantity".into(), counted);
                told.insert(HOLD.key.into(), way(HOLD, &ways.hold, hold, &words));
                told.insert(STREAM.key.into(), way(STREAM, &ways.stream, stream, &words));
                told.insert(CREDIT.key.into(), way(CREDIT, &ways.credit, credit, &words));
            }
            Inputs::Discount { product, origin: from, included_mib, volumes, worth } => {
                told.insert("product".into(), product.as_str().into());
                told.insert("origin".into(), origin(from));
                told.insert("included_mib".into(), (*included_mib).into());
                let columns = [
                    (HOLD, volumes.hold, hold),
                    (STREAM, volumes.stream, stream),
                    (CREDIT, volumes.credit, credit),
                ];
                for ((column, volumes, amount), worth) in columns.into_iter().zip(worth) {
                    let unit = column.unit;
                    told.insert(
                        column.key.into(),
                        json!({
                            "volumes": volumes.to_string(),
                            "worth": worth.to_string(),
                            "amount": amount.to_string(),
                            "formula": format!(
                                "−min({volumes} of the volumes, {worth} for {included_mib} MiB included) → \
                                 {amount} {unit} (floor to 18 decimals)"
                            ),
                        }),
                    );
                }
            }
        }
        Value::Object(told)
    }
}

impl Costing {
    /// Every line and the total.
    pub fn explain(&self) -> Value {
        let unit = match self.payment {
            aleph_types::content::PaymentType::Hold => HOLD.unit,
            aleph_types::content::PaymentType::Superfluid => STREAM.unit,
            aleph_types::content::PaymentType::Credit => CREDIT.unit,
        };
        json!({
            "payment_type": self.payment.as_str(),
            "product": self.product.as_str(),
            "total": self.total.to_string(),
            "unit": unit,
            "unknown_files": self.unknown_files,
            "lines": self.lines.iter().map(CostLine::explain).collect::<Vec<_>>(),
        })
    }
}
