//! `cargo xtask dist`: everything that a release consists of, for the platform of this machine.

mod archive; // reproducible tar files
mod crates; // the packages for crates.io
mod debian; // the Debian package
mod dependencies; // what the programs are built from
mod notices; // the licences of others
mod programs; // the three binaries
mod release; // what every part needs to know
mod rootfs; // the files of a minimal container
mod sbom; // the list of components, as CycloneDX
mod shared; // what archive and Debian package have beside the programs
mod steps; // files, folders, and commands that must succeed
mod sums; // SHA256SUMS

use std::path::PathBuf;
use std::process::ExitCode;

use testkit::process::{root, target};

use self::dependencies::Dependencies;
use self::programs::Programs;
use self::release::Release;

pub(crate) const HELP: &str = "\
It writes, where NAME is for example outbox-0.1.0-x86_64-unknown-linux-gnu:
  NAME.tar.gz               programs, manual pages, completions, clients, docs, infra, ops, licences
  outbox_0.1.0_amd64.deb    programs, manual pages, completions, a user and a configuration file
  NAME-rootfs.tar.gz        a minimal container: `docker import FILE outbox`
  NAME.cdx.json             the components, as CycloneDX
  crates/*.crate            what `cargo publish` uploads
  SHA256SUMS                of all of them: `sha256sum --check SHA256SUMS`

Two runs for one commit with one toolchain write the same bytes: times are SOURCE_DATE_EPOCH, or that of the commit.
The programs need the C library of this machine or a newer one, so build on the oldest system that is to run them.

Try it without a long build:
  cargo xtask dist --profile dev --fast --allow-dirty --out /tmp/dist

docs/releasing.md has the steps of a release.";

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// What `cargo build --profile` takes: release, or dev for a try.
    #[arg(long, default_value = "release")]
    profile: String,
    /// The directory for the files. Files of an earlier run in it are replaced. By default `dist` in cargo's target directory.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Takes `outbox`, `relay` and `worker` from this directory instead of building them.
    #[arg(long, value_name = "DIR", conflicts_with = "profile")]
    binaries: Option<PathBuf>,
    /// Makes only these parts.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART")]
    only: Vec<Part>,
    /// The maintainer that the Debian package names.
    #[arg(
        long,
        env = "OUTBOX_MAINTAINER",
        default_value = "Outbox <root@localhost>",
        value_name = "NAME <ADDRESS>"
    )]
    maintainer: String,
    /// Compresses little: for a try.
    #[arg(long)]
    fast: bool,
    /// Permits files that are not committed. Then the revision in `--version` does not say what was built.
    #[arg(long)]
    allow_dirty: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Archive,
    Debian,
    Rootfs,
    Sbom,
    Crates,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    if !options.allow_dirty {
        refuse_changes()?;
    }
    let out = options.out.clone().unwrap_or_else(|| target().join("dist"));
    let release = Release::new(&out, options.fast)?;
    let wanted = |part| options.only.is_empty() || options.only.contains(&part);
    if [Part::Archive, Part::Debian, Part::Rootfs, Part::Sbom].into_iter().any(wanted) {
        let programs = Programs::found(options.binaries.as_deref(), &options.profile, release.version)?;
        steps::began("dependencies: cargo tree, cargo metadata");
        let dependencies = Dependencies::read(&release.triple)?;
        let notices = notices::text(&dependencies)?;
        if wanted(Part::Archive) {
            shared::archive(&release, &programs, &notices)?;
        }
        if wanted(Part::Debian) {
            debian::package(&release, &programs, &notices, &options.maintainer)?;
        }
        if wanted(Part::Rootfs) {
            rootfs::archive(&release, &programs, &notices)?;
        }
        if wanted(Part::Sbom) {
            sbom::write(&release, &programs, &dependencies)?;
        }
    }
    if wanted(Part::Crates) {
        crates::package(&release, options.allow_dirty)?;
    }
    let files = sums::write(&release.out)?;
    println!("\n{files} files and SHA256SUMS are in {}", release.out.display());
    Ok(ExitCode::SUCCESS)
}

/// The revision in `--version` is to say what was built.
fn refuse_changes() -> Result<(), String> {
    let mut git = std::process::Command::new("git");
    let changed = steps::output(git.args(["status", "--porcelain"]).current_dir(root()))?;
    match changed.lines().count() {
        0 => Ok(()),
        count => {
            Err(format!("{count} files are not committed: commit them, or pass --allow-dirty for a try"))
        }
    }
}
