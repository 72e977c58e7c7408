//! One product's entry as it is sent: prices as text or number, falsy means free.

use serde_json::{Map, Value};

use super::{ComputeUnit, Origin, PriceFault, Prices, Product, ProductPrices, Tier};
use crate::Decimal;

type Read<T> = Result<T, PriceFault>;

fn fault<T>(path: &str, what: &'static str) -> Read<T> {
    Err(PriceFault::Malformed { path: path.to_owned(), what })
}

/// What counts as nothing in the reference's language.
pub(crate) fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

pub(super) fn product(product: Product, entry: Option<&Value>, origin: &Origin) -> Read<ProductPrices> {
    let Some(entry) = entry else { return Err(PriceFault::Missing) };
    let Value::Object(entry) = entry else { return fault(product.as_str(), "must be an object") };
    let Some(Value::Object(price)) = entry.get("price") else { return fault("price", "must be an object") };
    let Some(storage) = price.get("storage") else { return fault("price.storage", "is missing") };
    let storage = prices(storage, "price.storage")?;
    let unit = entry.get("compute_unit").filter(|unit| !is_falsy(unit));
    let compute_unit_price = match unit {
        None => None,
        Some(_) => match price.get("compute_unit") {
            None => return fault("price.compute_unit", "is missing"),
            Some(sent) => Some(prices(sent, "price.compute_unit")?),
        },
    };
    let tiers = match entry.get("tiers").filter(|tiers| !is_falsy(tiers)) {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().map(tier).collect::<Read<_>>()?,
        Some(_) => return fault("tiers", "must be a list"),
    };
    let compute_unit = match (tiers.is_empty(), unit) {
        (true, _) => None,
        (false, None) => return fault("compute_unit", "is missing though there are tiers"),
        (false, Some(unit)) => Some(compute_unit(unit)?),
    };
    Ok(ProductPrices { product, storage, compute_unit_price, compute_unit, tiers, origin: origin.clone() })
}

fn prices(value: &Value, path: &str) -> Read<Prices> {
    let Value::Object(map) = value else { return fault(path, "must be an object") };
    Ok(Prices {
        holding: price(map, "holding", path)?,
        payg: price(map, "payg", path)?,
        credit: price(map, "credit", path)?,
    })
}

fn price(map: &Map<String, Value>, key: &str, path: &str) -> Read<Decimal> {
    let Some(value) = map.get(key).filter(|value| !is_falsy(value)) else { return Ok(Decimal::zero()) };
    let read = match value {
        Value::String(text) => Decimal::parse(text).ok(),
        number => Decimal::from_json_exact(number).and_then(Result::ok),
    };
    let path = || format!("{path}.{key}");
    match read {
        None => fault(&path(), "must be a finite decimal number, as text or number"),
        Some(price) if price.is_negative() => fault(&path(), "must not be negative"),
        Some(price) => Ok(price),
    }
}

fn compute_unit(value: &Value) -> Read<ComputeUnit> {
    let whole =
        |key: &str| value.get(key).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let Some(vcpus) = whole("vcpus") else { return fault("compute_unit.vcpus", "must be a whole number") };
    let Some(disk_mib) = whole("disk_mib") else {
        return fault("compute_unit.disk_mib", "must be a whole number");
    };
    let Some(memory_mib) = whole("memory_mib").filter(|&memory| memory > 0) else {
        return fault("compute_unit.memory_mib", "must be a whole number above 0");
    };
    Ok(ComputeUnit { vcpus, memory_mib, disk_mib })
}

fn tier(value: &Value) -> Read<Tier> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let Some(id) = text("id") else { return fault("tiers.id", "must be text") };
    let compute_units =
        value.get("compute_units").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
    let Some(compute_units) = compute_units else {
        return fault("tiers.compute_units", "must be a whole number");
    };
    Ok(Tier { id, compute_units, model: text("model"), vram_mib: value.get("vram").and_then(Value::as_u64) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(entry: Value) -> Read<ProductPrices> {
        product(Product::Instance, Some(&entry), &Origin::Aggregate)
    }

    fn valid() -> Value {
        json!({
            "price": {"storage": {"payg": "0.1", "holding": 0, "credit": null},
                      "compute_unit": {"payg": 0.1, "holding": "", "extra": []}},
            "compute_unit": {"vcpus": 1, "disk_mib": 20480, "memory_mib": 2048},
            "tiers": [{"id": "tier-1", "compute_units": 1}],
        })
    }

    #[test]
    fn falsy_prices_are_zero_and_doubles_are_exact() {
        let prices = read(valid()).unwrap();
        assert!(prices.storage.holding.is_zero() && prices.storage.credit.is_zero());
        let unit = prices.compute_unit_price.unwrap();
        assert_eq!(unit.payg, Decimal::from_f64(0.1).unwrap());
        assert_ne!(unit.payg, Decimal::parse("0.1").unwrap());
    }

    #[test]
    fn what_spoils_an_entry() {
        type Spoil = fn(&mut Value);
        let cases: [(&str, Spoil); 11] = [
            ("price", |entry| entry["price"] = json!(5)),
            ("price.storage", |entry| entry["price"] = json!({})),
            ("price.storage.payg", |entry| entry["price"]["storage"]["payg"] = json!("cheap")),
            ("price.storage.payg", |entry| entry["price"]["storage"]["payg"] = json!("-1")),
            ("price.storage.payg", |entry| entry["price"]["storage"]["payg"] = json!("NaN")),
            ("price.storage.payg", |entry| entry["price"]["storage"]["payg"] = json!([1])),
            ("price.storage.payg", |entry| entry["price"]["storage"]["payg"] = json!("1e999999")),
            ("compute_unit", |entry| entry["compute_unit"] = Value::Null),
            ("compute_unit.memory_mib", |entry| entry["compute_unit"]["memory_mib"] = json!(0)),
            ("tiers.compute_units", |entry| entry["tiers"][0]["compute_units"] = json!(-1)),
            ("tiers.compute_units", |entry| entry["tiers"][0]["compute_units"] = json!(1.5)),
        ];
        for (expected, spoil) in cases {
            let mut entry = valid();
            spoil(&mut entry);
            match read(entry.clone()) {
                Err(PriceFault::Malformed { path, .. }) => assert_eq!(path, expected, "{entry}"),
                other => panic!("{other:?} for {entry}"),
            }
        }
    }

    #[test]
    fn without_tiers_the_compute_unit_does_not_count() {
        let mut entry = valid();
        entry["tiers"] = json!([]);
        let prices = read(entry).unwrap();
        assert_eq!(prices.unit(), ComputeUnit::FALLBACK);
        assert!(prices.compute_unit_price.is_some());
    }
}
