//! The stacks of other languages.

use std::process::Command;

use crate::{World, install, program};

pub fn python_kubernetes(world: &World) {
    python(world, "python/official.py");
}

pub fn python_aio(world: &World) {
    python(world, "python/with_aio.py");
}

pub fn python_lightkube(world: &World) {
    python(world, "python/with_lightkube.py");
}

pub fn python_pykube(world: &World) {
    python(world, "python/with_pykube.py");
}

pub fn python_kr8s(world: &World) {
    python(world, "python/with_kr8s.py");
}

pub fn python_kopf(world: &World) {
    python(world, "kopf/growing.py");
}

pub fn node_client(world: &World) {
    node(world, "client.mjs");
}

pub fn node_fluent(world: &World) {
    node(world, "fluent.mjs");
}

fn node(world: &World, file: &str) {
    match install::node() {
        Ok(folder) => program::run(world, Command::new("node").arg(folder.join(file))),
        Err(why) => skipped(&why),
    }
}

fn python(world: &World, file: &str) {
    let sources = install::sources();
    match install::python() {
        Ok(python) => {
            let mut command = Command::new(python);
            command.env("PYTHONPATH", sources.join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
            program::run(world, command.arg(sources.join(file)));
        }
        Err(why) => skipped(&why),
    }
}

fn skipped(why: &str) {
    println!("skipped, its packages cannot be had: {why}");
}
