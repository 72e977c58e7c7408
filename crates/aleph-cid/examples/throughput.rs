//! How fast trees are built and read, beside bare SHA-256 of the same bytes in the same run:
//! MiB a second of CPU time.
//!
//!   cargo run --release -p aleph-cid --example throughput [MiB]

use std::convert::Infallible;
use std::error::Error;
use std::hint::black_box;

use aleph_cid::{
    BlockSink, CarHeader, CarItem, CarLimits, CarReader, Cid, Discard, FileBuilder, FileCheck, Layout,
    Limits, MemoryBlocks, car_section_head, read_file,
};
use sha2::{Digest, Sha256};

/// Pieces as they come from a socket.
const PIECE: usize = 64 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mib: usize = std::env::args().nth(1).map_or(Ok(256), |text| text.parse())?;
    let bytes: Vec<u8> = (0..mib << 17)
        .flat_map(|i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect();

    // Twice each: the first run pays for pages that nobody touched before.
    for _ in 0..2 {
        show("SHA-256, whole", mib, || {
            black_box(Sha256::digest(&bytes));
            Ok(())
        })?;
        show("SHA-256, chunks of 256 KiB", mib, || {
            for chunk in bytes.chunks(256 << 10) {
                black_box(Sha256::digest(chunk));
            }
            Ok(())
        })?;
        show("SHA-256, of copied chunks", mib, || {
            let mut copy = Vec::with_capacity(256 << 10);
            for chunk in bytes.chunks(256 << 10) {
                copy.clear();
                chunk.chunks(PIECE).for_each(|piece| copy.extend_from_slice(piece));
                black_box(Sha256::digest(&copy));
            }
            Ok(())
        })?;
        for (name, layout) in
            [("v0", Layout::KUBO_V0), ("v1", Layout::KUBO_V1), ("v1-2025", Layout::UNIXFS_V1_2025)]
        {
            show(&format!("build {name}"), mib, || {
                black_box(build(layout, &bytes, &mut Discard)?);
                Ok(())
            })?;
        }
        let cid = build(Layout::KUBO_V0, &bytes, &mut Discard)?;
        show("check v0 (2 layouts)", mib, || {
            let mut check = FileCheck::new(cid);
            bytes.chunks(PIECE).for_each(|piece| check.update(piece));
            check.finish().map(|_| ()).ok_or_else(|| "the CID was not recognised".into())
        })?;
    }

    let mut blocks = MemoryBlocks::default();
    let root = build(Layout::KUBO_V0, &bytes, &mut blocks)?;
    let mut car = CarHeader::new(vec![root]).encode();
    for (cid, block) in blocks.iter() {
        car.extend(car_section_head(cid, block.len()));
        car.extend(block);
    }
    show("read v0, verified", mib, || {
        let size = read_file(&mut blocks, root, .., Limits::default(), |piece| {
            black_box(piece);
            Ok::<_, Infallible>(())
        })?;
        if size == (mib << 20) as u64 { Ok(()) } else { Err("not the whole file".into()) }
    })?;
    show("CAR, verified", mib, || {
        let mut reader = CarReader::new(CarLimits::default());
        for mut piece in car.chunks(PIECE) {
            while let Some(item) = reader.next_item(&mut piece)? {
                if let CarItem::Block { cid, block, .. } = item {
                    black_box((cid, block));
                }
            }
        }
        reader.finish()?;
        Ok(())
    })
}

fn build<S: BlockSink<Error = Infallible>>(
    layout: Layout,
    bytes: &[u8],
    sink: &mut S,
) -> Result<Cid, Infallible> {
    let mut builder = FileBuilder::new(layout);
    for piece in bytes.chunks(PIECE) {
        builder.update(piece, sink)?;
    }
    Ok(builder.finish(sink)?.cid)
}

fn show(
    name: &str,
    mib: usize,
    run: impl FnOnce() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let start = cpu_time()?;
    run()?;
    println!("{name:28} {:7.0} MiB/s", mib as f64 / (cpu_time()? - start));
    Ok(())
}

/// Seconds that this thread has computed: what others do on the machine does not count.
fn cpu_time() -> Result<f64, Box<dyn Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = text.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}
