//! Programs of other projects: their places, and how they are installed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Installs a folder's package-lock.json into another directory.
const LOCKED: &str = "mkdir -p \"$2\"; cp \"$1\"/package.json \"$1\"/package-lock.json \"$2\"; npm ci --no-audit --no-fund --ignore-scripts --prefix \"$2\"";

/// Why a program can't be installed, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    #[error("{program} is not installed: install it with `{remedy}`, or whatever your system calls it")]
    Missing { program: String, remedy: String },
    #[error("`{command}` failed: {reason}")]
    Install { command: String, reason: String },
}

/// The directory of the newest Postgres server's programs. As root on Debian it installs them if need be.
pub fn postgres_bin() -> Result<PathBuf, ToolError> {
    if let Some(found) = find_postgres() {
        return Ok(found);
    }
    // Debian's package would start a cluster of its own on the standard port.
    apt_install("postgresql-common")?;
    let _ = std::fs::create_dir_all("/etc/postgresql-common/createcluster.d");
    let _ = std::fs::write(
        "/etc/postgresql-common/createcluster.d/throwaway.conf",
        "create_main_cluster = false\n",
    );
    apt_install("postgresql")?;
    find_postgres().ok_or_else(|| ToolError::Missing {
        program: "Postgres's server (initdb, postgres)".to_owned(),
        remedy: "apt-get install postgresql".to_owned(),
    })
}

/// A program from a Debian package, which is installed if need be, as root.
pub fn debian(program: &str, package: &str) -> Result<PathBuf, ToolError> {
    if let Some(found) = on_path(program) {
        return Ok(found);
    }
    apt_install(package)?;
    on_path(program).ok_or_else(|| missing(program, package))
}

/// Ensures that a file of a Debian package is there; the package is installed if need be, as root.
pub fn debian_file(file: &str, package: &str) -> Result<(), ToolError> {
    if !Path::new(file).is_file() {
        apt_install(package)?;
    }
    if Path::new(file).is_file() { Ok(()) } else { Err(missing(file, package)) }
}

/// Unpacks a Debian package below `target` instead of installing it: nothing of it is started, and no root is needed.
/// Returns the directory that stands for `/`.
pub fn debian_unpacked(package: &str) -> Result<PathBuf, ToolError> {
    let dir = crate::process::target().join("debian").join(package);
    if dir.is_dir() {
        return Ok(dir);
    }
    if on_path("apt-get").is_none() {
        return Err(missing(package, package));
    }
    eprintln!("unpacking Debian's {package} below target (apt-get)");
    let partial = dir.with_extension(std::process::id().to_string());
    let failed = |command: &str, reason: String| ToolError::Install { command: command.to_owned(), reason };
    std::fs::create_dir_all(&partial).map_err(|error| failed("mkdir", error.to_string()))?;
    // As root, apt would download as a user without write access here.
    let download = |dir: &Path| {
        let mut apt = Command::new("apt-get");
        apt.args(["-o", "APT::Sandbox::User=root", "download", "-qq", package]).current_dir(dir);
        succeeds(&mut apt)
    };
    if !download(&partial) {
        let _ = apt(&["update", "-qq"]);
        if !download(&partial) {
            return Err(failed(&format!("apt-get download {package}"), "see what it says".to_owned()));
        }
    }
    let archives = std::fs::read_dir(&partial).into_iter().flatten().flatten().map(|entry| entry.path());
    for archive in archives.filter(|path| path.extension().is_some_and(|end| end == "deb")) {
        let unpacked = succeeds(Command::new("dpkg").arg("-x").arg(&archive).arg(&partial));
        if !unpacked {
            return Err(failed("dpkg -x", archive.display().to_string()));
        }
        let _ = std::fs::remove_file(archive);
    }
    if std::fs::rename(&partial, &dir).is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    Ok(dir)
}

/// Google's protobuf, another implementation of proto3 JSON: the directory for PYTHONPATH.
pub fn python_protobuf() -> Result<PathBuf, ToolError> {
    python_package("protobuf==6.33.1", "google/protobuf")
}

/// A Python package, installed below `target` if need be; `module` is a directory in it. Returns the directory for
/// PYTHONPATH.
pub fn python_package(package: &str, module: &str) -> Result<PathBuf, ToolError> {
    let dir = crate::process::target().join("python").join(package);
    if dir.join(module).is_dir() {
        return Ok(dir);
    }
    debian("python3", "python3")?;
    let pip = |dir: &Path| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--target"]).arg(dir).arg(package);
        // Into a directory of its own, and not into the system's.
        pip.env("PIP_BREAK_SYSTEM_PACKAGES", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        pip
    };
    if !succeeds(Command::new("python3").args(["-m", "pip", "--version"])) {
        apt_install("python3-pip")?;
    }
    eprintln!("installing Python's {package} below target (pip)");
    install_into(&dir, &format!("python3 -m pip install {package}"), pip)?;
    Ok(dir)
}

/// An npm package, installed below `target` if need be, without its scripts. Returns the package's directory.
pub fn npm_package(package: &str, version: &str) -> Result<PathBuf, ToolError> {
    let packages = node_packages(&package.replace('/', "-"), &[&format!("{package}@{version}")])?;
    Ok(packages.join("node_modules").join(package))
}

/// Installs into a directory with a temporary name, because tests may install the same package side by side.
fn install_into(dir: &Path, command: &str, install: impl Fn(&Path) -> Command) -> Result<(), ToolError> {
    let failed = |reason: String| ToolError::Install { command: command.to_owned(), reason };
    let mut partial = dir.as_os_str().to_owned();
    partial.push(format!(".{}-{:08x}", std::process::id(), fastrand::u32(..)));
    let partial = PathBuf::from(partial);
    let mut install = install(&partial);
    let output = install.stdin(Stdio::null()).output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        let _ = std::fs::remove_dir_all(&partial);
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(failed(said.lines().rev().take(3).collect::<Vec<_>>().join("; ")));
    }
    if std::fs::rename(&partial, dir).is_err() {
        let _ = std::fs::remove_dir_all(&partial);
    }
    Ok(())
}

/// connect-node and grpc-js, the official libraries' servers for Node.js: the directory of `node_modules`.
pub fn node_rpc() -> Result<PathBuf, ToolError> {
    let packages = [
        "@bufbuild/protobuf@2.17.0",
        "@connectrpc/connect@2.2.0",
        "@connectrpc/connect-node@2.2.0",
        "@grpc/grpc-js@1.14.7",
    ];
    node_packages("rpc", &packages)
}

/// What a company outside of the repository uses for TypeScript: buf, its generator, connect-node, `pg` and the compiler.
/// Returns the directory of `node_modules`.
pub fn node_company() -> Result<PathBuf, ToolError> {
    let packages = [
        "@bufbuild/buf@1.75.0",
        "@bufbuild/protobuf@2.17.0",
        "@bufbuild/protoc-gen-es@2.17.0",
        "@connectrpc/connect@2.2.0",
        "@connectrpc/connect-node@2.2.0",
        "pg@8.23.1",
        "typescript@5.9.3",
        "@types/node@20.19.43",
        "@types/pg@8.23.1",
    ];
    Ok(node_packages("company", &packages)?.join("node_modules"))
}

/// Python's driver for Postgres: the directory for PYTHONPATH.
pub fn python_psycopg() -> Result<PathBuf, ToolError> {
    python_package("psycopg[binary]==3.3.9", "psycopg")
}

/// The official gRPC library for Python: the directory for PYTHONPATH.
pub fn python_grpc() -> Result<PathBuf, ToolError> {
    python_package("grpcio==1.76.0", "grpc")
}

/// protoc, which Python's package grpcio-tools has: the directory for PYTHONPATH.
pub fn python_protoc() -> Result<PathBuf, ToolError> {
    python_package("grpcio-tools==1.76.0", "grpc_tools")
}

/// What the client for TypeScript and its tests need, as its package.json has it: the directory of `node_modules`.
pub fn node_clients() -> Result<PathBuf, ToolError> {
    let packages = [
        "@bufbuild/protobuf@2.17.0",
        "@bufbuild/protoc-gen-es@2.17.0",
        "@types/node@20.19.43",
        "@types/pg@8.23.1",
        "pg@8.23.1",
        "typescript@5.9.3",
    ];
    node_packages("clients", &packages)
}

/// The program go, with the modules of a directory. go itself is not installed.
pub fn go_modules(dir: &Path) -> Result<PathBuf, ToolError> {
    let go = on_path("go").ok_or_else(|| missing("go", "golang-go"))?;
    if succeeds(Command::new(&go).args(["mod", "download"]).current_dir(dir)) {
        return Ok(go);
    }
    Err(ToolError::Install { command: "go mod download".to_owned(), reason: "see what it says".to_owned() })
}

/// What the YAML language server of editors judges with: the directory of `node_modules`.
pub fn editors() -> Result<PathBuf, ToolError> {
    node_packages("editors", &["ajv@8.17.1", "yaml@2.8.1"])
}

/// The JSON schemas of Kubernetes, and what judges manifests by them: the directory for PYTHONPATH.
pub fn kubernetes() -> Result<PathBuf, ToolError> {
    python_package("kubernetes-validate==1.37.0", "kubernetes_validate")
}

/// The program nginx. Debian's package is unpacked, because an installed one would start it.
pub fn nginx() -> Result<PathBuf, ToolError> {
    match on_path("nginx") {
        Some(found) => Ok(found),
        None => Ok(debian_unpacked("nginx")?.join("usr/sbin/nginx")),
    }
}

/// npm packages, installed below `target` if need be, without their scripts. Returns the directory of `node_modules`.
pub fn node_packages(name: &str, packages: &[&str]) -> Result<PathBuf, ToolError> {
    // Each version has a directory of its own.
    let dir = crate::process::target().join("node").join(format!("{name}-{}", fingerprint(packages)));
    if dir.join("node_modules").is_dir() {
        return Ok(dir);
    }
    debian("node", "nodejs")?;
    debian("npm", "npm")?;
    eprintln!("installing {} below target (npm)", packages.join(", "));
    install_into(&dir, &format!("npm install {}", packages.join(" ")), |dir| npm(dir, packages))?;
    Ok(dir)
}

/// The packages of a folder's package-lock.json, installed below `target` if need be, without their scripts: the directory of
/// `node_modules`.
pub fn node_locked(name: &str, folder: &Path) -> Result<PathBuf, ToolError> {
    let command = format!("npm ci in {}", folder.display());
    let failed =
        |error: std::io::Error| ToolError::Install { command: command.clone(), reason: error.to_string() };
    let lock = std::fs::read(folder.join("package-lock.json")).map_err(failed)?;
    // Each lock has a directory of its own.
    let mut hasher = DefaultHasher::new();
    lock.hash(&mut hasher);
    let dir = crate::process::target().join("node").join(format!("{name}-{:016x}", hasher.finish()));
    if dir.join("node_modules").is_dir() {
        return Ok(dir);
    }
    debian("node", "nodejs")?;
    debian("npm", "npm")?;
    eprintln!("installing {name}'s packages below target (npm)");
    install_into(&dir, &command, |dir| {
        let mut install = Command::new("sh");
        install.args(["-ec", LOCKED, "npm-ci"]).arg(folder).arg(dir);
        install
    })?;
    Ok(dir)
}

/// The browser of the console's tests: Chromium, from Debian's package if need be.
pub fn chromium() -> Result<PathBuf, ToolError> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    match names.into_iter().find_map(on_path) {
        Some(found) => Ok(found),
        None => debian("chromium", "chromium"),
    }
}

/// What drives that browser, and what finds barriers in its pages.
pub fn node_console() -> Result<PathBuf, ToolError> {
    node_locked("console", &crate::process::root().join("tests/console"))
}

fn npm(dir: &Path, packages: &[&str]) -> Command {
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]);
    npm.arg(dir).args(packages);
    npm
}

fn fingerprint(packages: &[&str]) -> String {
    let versions = packages.iter().filter_map(|package| package.rsplit('@').next());
    versions.collect::<Vec<_>>().join("-")
}

/// A toolchain of Rust below `target`, by rustup: the directory of cargo and rustc. The user's own toolchains stay as they are.
pub fn rust_toolchain(version: &str) -> Result<PathBuf, ToolError> {
    let home = crate::process::target().join("rustup").join(version);
    if !home.is_dir() {
        eprintln!("installing Rust {version} below target (rustup)");
        install_into(&home, &format!("rustup toolchain install {version}"), |home| {
            let mut rustup = Command::new("rustup");
            rustup.args(["toolchain", "install", version, "--profile", "minimal", "--no-self-update"]);
            rustup.env("RUSTUP_HOME", home);
            rustup
        })?;
    }
    let mut toolchains = std::fs::read_dir(home.join("toolchains")).into_iter().flatten().flatten();
    let bin = toolchains.next().map(|toolchain| toolchain.path().join("bin"));
    bin.ok_or_else(|| ToolError::Missing {
        program: format!("Rust {version}"),
        remedy: format!("rustup toolchain install {version}"),
    })
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success())
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

fn find_postgres() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    debian.sort();
    let brew = ["/opt/homebrew/bin", "/usr/local/bin", "/usr/pgsql/bin"].map(PathBuf::from);
    let path = on_path("initdb").and_then(|initdb| initdb.parent().map(Path::to_owned));
    debian
        .into_iter()
        .rev()
        .map(|(_, bin)| bin)
        .chain(path)
        .chain(brew)
        .find(|bin| bin.join("initdb").is_file() && bin.join("postgres").is_file())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

fn apt_install(package: &str) -> Result<(), ToolError> {
    if !is_root() || on_path("apt-get").is_none() {
        return Err(missing(package, package));
    }
    eprintln!("installing {package} (apt-get)");
    // Lists may be missing on a fresh machine, or name packages that no longer exist.
    let _ = apt(&["update", "-qq"]);
    apt(&["install", "-y", "-qq", "--no-install-recommends", package])
}

fn apt(args: &[&str]) -> Result<(), ToolError> {
    let command = format!("apt-get {}", args.join(" "));
    let failed = |reason: String| ToolError::Install { command: command.clone(), reason };
    let output = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(said.lines().rev().take(3).collect::<Vec<_>>().join("; ")))
}

fn missing(program: &str, package: &str) -> ToolError {
    ToolError::Missing { program: program.to_owned(), remedy: format!("apt-get install {package}") }
}
