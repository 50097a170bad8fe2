//! Bytes per second of addressing content, on one core.
#![allow(missing_docs, reason = "criterion's macros document nothing")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use galen_storage::swarm::SwarmHasher;

/// At the sizes of real content: one observation, a bundle, an image.
fn swarm(c: &mut Criterion) {
    let mut group = c.benchmark_group("swarm");
    for (name, len) in [("observation", 4096 + 2048), ("bundle", 150_000), ("imaging", 8 << 20)] {
        let content = vec![0x5a_u8; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::from_parameter(name), &content, |b, content| {
            b.iter(|| SwarmHasher::digest(black_box(content)));
        });
    }
    group.finish();
}

criterion_group!(benches, swarm);
criterion_main!(benches);
