//! Checked resources a second, and a document cut, shown and verified. Sizes are those of real bundles, read
//! from the folder of published documents (`GALEN_FHIR` or `../shared/fhir`); without it there is nothing to measure.
//!
//! Beside PyPI fhir.resources in one run: `tests/oracles/python/reader_speed.py`.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench fails like a test, and criterion's macros document nothing"
)]

use std::{env, fs, hint::black_box, path::PathBuf};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use galen_fhir::{
    Document, Node, check_ndjson,
    parts::{PartTree, Seed, Selection, SigningPolicy, verify},
};

/// Synthea's bundles, smallest first.
fn bundles() -> Vec<(String, Vec<u8>)> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fhir");
    let folder = env::var_os("GALEN_FHIR").map_or(beside, PathBuf::from).join("synthea");
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
        })
        .collect();
    found.sort_by_key(|(_, bytes)| bytes.len());
    found
}

/// Each resource on a line.
fn lines(bundles: &[(String, Vec<u8>)]) -> (usize, Vec<u8>) {
    let (mut count, mut out) = (0, Vec::new());
    for (_, bytes) in bundles {
        for resource in Document::read(bytes).unwrap().resources() {
            compact(resource.node, &mut out);
            out.push(b'\n');
            count += 1;
        }
    }
    (count, out)
}

fn compact(node: Node<'_>, out: &mut Vec<u8>) {
    if node.is_object() {
        for (at, (name, value)) in node.members().enumerate() {
            out.extend_from_slice(if at == 0 { b"{\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            compact(value, out);
        }
        out.push(b'}');
    } else if node.is_array() {
        for (at, item) in node.items().enumerate() {
            out.push(if at == 0 { b'[' } else { b',' });
            compact(item, out);
        }
        out.push(b']');
    } else {
        out.extend_from_slice(node.raw().as_bytes());
    }
}

fn reader(c: &mut Criterion) {
    let bundles = bundles();
    let mut group = c.benchmark_group("read");
    group.sample_size(10);
    for (_, bytes) in &bundles {
        let resources = Document::read(bytes).unwrap().len() as u64;
        group.throughput(Throughput::Elements(resources));
        let id = BenchmarkId::from_parameter(format!("{} kB", bytes.len() / 1_000));
        group.bench_with_input(id, bytes, |b, bytes| {
            b.iter(|| Document::read(black_box(bytes)).unwrap());
        });
    }
    let (count, ndjson) = lines(&bundles);
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("ndjson", |b| b.iter(|| check_ndjson(black_box(&ndjson[..])).unwrap()));
    group.finish();
}

fn parts(c: &mut Criterion) {
    let bundles = bundles();
    let mut group = c.benchmark_group("parts");
    group.sample_size(10);
    for (_, bytes) in &bundles {
        let document = Document::read(bytes).unwrap();
        let seed = Seed::new([1; 32]);
        let policy = SigningPolicy::default();
        let size = format!("{} kB", bytes.len() / 1_000);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("build/{size}"), |b| {
            b.iter(|| PartTree::build(black_box(&document), &seed, &policy).unwrap());
        });
        let tree = PartTree::build(&document, &seed, &policy).unwrap();
        let hide = Selection::hide(["Patient.name", "Patient.address"]);
        group.bench_function(format!("show/{size}"), |b| {
            b.iter(|| tree.select(&hide).unwrap().proof_parts());
        });
        let shown = tree.select(&hide).unwrap().proof_parts();
        group.bench_function(format!("verify/{size}"), |b| {
            b.iter(|| verify(black_box(&shown)).unwrap())
        });
    }
    group.finish();
}

criterion_group!(benches, reader, parts);
criterion_main!(benches);
