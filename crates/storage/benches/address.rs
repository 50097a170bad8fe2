//! Bytes per second of addressing content, on one core. Goals and rivals are in `tests/oracles/bench`.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use galen_storage::{Addresser, ipfs::IpfsHasher, swarm::SwarmHasher};

/// At the sizes of real content: one observation, a bundle, an image.
fn address(c: &mut Criterion) {
    for (name, len) in [("observation", 4096 + 2048), ("bundle", 150_000), ("imaging", 8 << 20)] {
        let content = vec![0x5a_u8; len];
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Bytes(len as u64));
        let mut bench = |of, hash: &dyn Fn(&[u8])| {
            group.bench_function(BenchmarkId::from_parameter(of), |b| {
                b.iter(|| hash(black_box(&content)));
            });
        };
        bench("swarm", &|content| {
            black_box(SwarmHasher::digest(content));
        });
        bench("ipfs", &|content| {
            black_box(IpfsHasher::digest(content));
        });
        bench("both", &|content| {
            black_box(Addresser::digest(content));
        });
        group.finish();
    }
}

criterion_group!(benches, address);
criterion_main!(benches);
