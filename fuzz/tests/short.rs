//! Each target for a short while, with the same inputs every time: texts that mean something, and what chance
//! makes of them. `fuzz/run` looks further, and goes by coverage.

use vkube_fuzz::targets::ALL;

/// Inputs that begin with what chooses a type or an object, and go on with a text.
const SEEDS: &[(&str, &[&str])] = &[
    (
        "json",
        &[
            "\u{1}{\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"labels\":{\"a\":null}},\"spec\":{\"replicas\":1e2}}",
            "\u{20}{\"metadata\":{\"creationTimestamp\":\"2026-01-01T00:00:00Z\"},\"spec\":[{}, \"\\ud83e\\udd80\"]}",
        ],
    ),
    (
        "yaml",
        &[
            "a: &x {b: [1, 0x1f, ~, yes]}\nc: *x\n<<: {d: |\n  text\n}\n",
            "- 'it''s'\n- \"\\u00e9\\n\"\n- >-\n  folded\n  text\n- !!str 5\n- 2026-01-01\n",
        ],
    ),
    (
        "selectors",
        &["\0a in (b, c),!d,e!=f,g=h", "\0metadata.name=a,spec.nodeName!=b\\,c", "\0a>5,b notin ()"],
    ),
    (
        "cel",
        &[
            "\0self.items.all(i, i.name.matches('^a+$') && size(i.name) < 10 ? true : has(i.x))",
            "\0[1, 2, 3].map(x, x * 2).exists(x, x == 4) || {'a': b'\\x00'}['a'] == b'' || duration('1h') > duration('5m')",
            "\0quantity('1Gi').isGreaterThan(quantity('1M')) && ip('10.0.0.1').isLoopback() && url('https://a/b').getHost() == ''",
        ],
    ),
    (
        "json_path",
        &[
            "\0{.spec.containers[?(@.name=='a')].ports[0:2:-1]['x','y']}",
            "\0.a..b[*]",
            "\0{range .a[*]}{.b}{end}",
        ],
    ),
];

/// How often each target is tried: what takes longer, less often.
fn rounds(target: &str) -> u32 {
    match target {
        "requests" => 150,
        "apply" => 600,
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
    fn input(&mut self, seeds: &[&str]) -> Vec<u8> {
        if seeds.is_empty() || self.below(5) == 0 {
            let length = self.below(1500);
            return self.bytes(length);
        }
        let mut input = seeds[self.below(seeds.len())].as_bytes().to_vec();
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

fn tried(name: &str) {
    let (_, target) = ALL.iter().find(|(known, _)| *known == name).unwrap();
    let seeds = SEEDS.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, seeds)| seeds);
    seeds.iter().for_each(|seed| target(seed.as_bytes()));
    let mut chance = Chance(name.len() as u64);
    for round in 0..rounds(name) {
        let input = chance.input(seeds);
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
    ["selectors", "cel", "json_path", "url"].into_iter().for_each(tried);
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
