//! The packages for crates.io, as `cargo publish` would upload them.

use serde_json::Value;
use testkit::process::target;

use super::release::Release;
use super::steps;
use crate::programs::cargo;

pub(super) fn package(release: &Release, allow_dirty: bool) -> Result<(), String> {
    steps::began("crates: cargo package --workspace --no-verify");
    let (published, kept) = members()?;
    // A target directory of its own, so that a running build is not waited for.
    let target = target().join("packages");
    let mut package = cargo();
    package
        .args(["package", "--quiet", "--workspace", "--no-verify", "--locked", "--target-dir"])
        .arg(&target);
    package.args(kept.iter().flat_map(|name| ["--exclude", name]));
    package.args(allow_dirty.then_some("--allow-dirty"));
    steps::succeeds(&mut package)?;
    for name in &published {
        let file = format!("{name}-{}.crate", release.version);
        steps::copy(&target.join("package").join(&file), &release.out.join("crates").join(&file), 0o644)?;
    }
    println!("    crates/: {}", published.join(", "));
    Ok(())
}

/// The packages that are published, and those with `publish = false`.
fn members() -> Result<(Vec<String>, Vec<String>), String> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&steps::output(&mut metadata)?)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let (published, kept): (Vec<_>, Vec<_>) = packages.partition(|package| package["publish"].is_null());
    let names = |packages: Vec<&Value>| {
        packages.iter().filter_map(|package| package["name"].as_str()).map(str::to_owned).collect()
    };
    Ok((names(published), names(kept)))
}
