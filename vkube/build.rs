//! Lays out the release binary so that what an idle control plane runs lies together.
//!
//! The kernel maps the pages around each one that is run, so functions scattered over the whole program make most of it
//! resident, once for every tenant. `link/hot.txt` names the functions and modules that belong together; here it
//! becomes a linker script. A function that is missing there costs a little memory and nothing else.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::{env, fs, io};

const HOT: &str = "link/hot.txt";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={HOT}");
    let variable = |name| env::var(name).unwrap_or_default();
    // The script is for GNU linkers and those that follow them.
    if variable("PROFILE") != "release" || variable("CARGO_CFG_TARGET_OS") != "linux" {
        return Ok(());
    }
    let script = Path::new(&variable("OUT_DIR")).join("hot.ld");
    fs::write(&script, layout(&fs::read_to_string(HOT)?))?;
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    if variable("CARGO_CFG_TARGET_ENV") == "gnu"
        && variable("HOST") == variable("TARGET")
        && packs_relocations()
    {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    Ok(())
}

/// Whether the C library reads packed relocations, as glibc does since 2.36: a program of that size has 800 KiB of plain
/// ones, all of which are read at the start.
fn packs_relocations() -> bool {
    let Ok(answer) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return false };
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    let version = answer.trim().strip_prefix("glibc ").and_then(|version| version.split_once('.'));
    version.is_some_and(|(major, minor)| major == "2" && minor.parse().is_ok_and(|minor: u32| minor >= 36))
}

/// A linker script that only adds to the linker's own.
///
/// The compiler puts functions that are `#[cold]`, such as those that let a vector grow, into sections of their own names.
fn layout(paths: &str) -> String {
    let mut sections = String::new();
    for path in paths.lines() {
        let below = mangled(path);
        // A crate may also be the name of a C function.
        let whole = if path.contains("::") { String::new() } else { format!(".text.{path} ") };
        // Writing to a string cannot fail.
        let _ = writeln!(sections, "    *({whole}.text.{below}* .text.unlikely.{below}*)");
    }
    format!(
        "SECTIONS {{\n  .text.hot : {{\n{sections}    *(.text._R* .text.unlikely._R*)\n  }}\n}}\nINSERT BEFORE .text;\n"
    )
}

/// The beginning of the symbols of all that is below a path.
fn mangled(path: &str) -> String {
    let mut symbol = "_ZN".to_owned();
    for component in components(path) {
        let component = escaped(component);
        let _ = write!(symbol, "{}{component}", component.len());
    }
    symbol
}

/// Splits at the `::` that are not inside of brackets.
fn components(path: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    let bytes = path.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' | b'{' | b'(' | b'[' => depth += 1,
            // The arrow of a function type, of which mangling leaves `.>`, closes nothing.
            b'>' if at > 0 && bytes[at - 1] == b'.' => {}
            b'>' | b'}' | b')' | b']' => depth = depth.saturating_sub(1),
            b':' if depth == 0 && bytes.get(at + 1) == Some(&b':') => {
                parts.push(&path[start..at]);
                start = at + 2;
            }
            _ => {}
        }
    }
    parts.push(&path[start..]);
    parts
}

/// A component as rustc's first mangling scheme writes it.
fn escaped(component: &str) -> String {
    let mut out = String::new();
    for character in component.replace("::", "..").chars() {
        let name = match character {
            '<' => "LT",
            '>' => "GT",
            '&' => "RF",
            '*' => "BP",
            '(' => "LP",
            ')' => "RP",
            ',' => "C",
            '@' => "SP",
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '$' => {
                out.push(character);
                continue;
            }
            other => {
                let _ = write!(out, "$u{:x}$", u32::from(other));
                continue;
            }
        };
        let _ = write!(out, "${name}$");
    }
    if out.starts_with('$') {
        out.insert(0, '_');
    }
    out
}
