//! Each target for a short while, with the same inputs every time: texts that mean something, and what chance
//! makes of them. `fuzz/run` looks further, and goes by coverage.

use std::path::Path;

use vkube_fuzz::targets::ALL;

/// How often each target is tried: what takes longer, less often.
fn rounds(target: &str) -> u32 {
    match target {
        "requests" => 150,
        "apply" | "custom" => 600,
        _ => 2_500,
    }
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    /// Any bytes, or one of the seeds with some changes.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        if seeds.is_empty() || self.below(5) == 0 {
            let length = self.below(1500);
            return self.bytes(length);
        }
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(8) {
            let at = self.below(input.len());
            match self.below(5) {
                0 => input.truncate(at),
                1 => drop(input.splice(at..at, b"[{(\"'\\:,.*!-0"[self.below(13)..].iter().take(1).copied())),
                2 if at < input.len() => {
                    input.remove(at);
                }
                3 if at < input.len() => input[at] = self.next().to_le_bytes()[0],
                // A part of it twice.
                _ => {
                    let end = at + self.below(input.len() - at.min(input.len()));
                    let part = input.get(at..end).unwrap_or_default().to_vec();
                    drop(input.splice(at..at, part));
                }
            }
        }
        input
    }
}

/// What `fuzz/seeds` has for a target: inputs that mean something, and those that once made it fail.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut files: Vec<_> =
        std::fs::read_dir(directory).into_iter().flatten().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

fn tried(name: &str) {
    let (_, target) = ALL.iter().find(|(known, _)| *known == name).unwrap();
    let seeds = seeds(name);
    seeds.iter().for_each(|seed| target(seed));
    let mut chance = Chance(name.len() as u64);
    for round in 0..rounds(name) {
        let input = chance.input(&seeds);
        let outcome = std::panic::catch_unwind(|| target(&input));
        assert!(outcome.is_ok(), "{name} fails in round {round} with {:?}", String::from_utf8_lossy(&input));
    }
}

#[test]
fn whatever_documents_clients_send_is_read_or_refused() {
    ["json", "yaml", "protobuf"].into_iter().for_each(tried);
}

#[test]
fn whatever_patches_clients_send_are_carried_out_or_refused() {
    ["patches", "apply"].into_iter().for_each(tried);
}

#[test]
fn whatever_expressions_and_selectors_clients_send_mean_something_or_nothing() {
    ["selectors", "cel", "json_path", "url", "configuration"].into_iter().for_each(tried);
}

#[test]
fn whatever_resources_clients_define_are_served_or_refused() {
    tried("custom");
}

#[test]
fn whatever_requests_clients_send_are_answered() {
    tried("requests");
}

#[test]
fn every_target_is_tried() {
    let text = include_str!("short.rs");
    for (name, _) in ALL {
        assert!(text.contains(&format!("\"{name}\"")), "{name}");
    }
}
