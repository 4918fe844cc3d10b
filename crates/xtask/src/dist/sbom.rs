//! The list of components, as CycloneDX 1.5, for tools that know of vulnerabilities and licences.

use serde_json::{Value, json};

use super::dependencies::{Dependencies, Dependency, Id};
use super::programs::{PROGRAMS, Programs};
use super::release::Release;
use super::steps;

pub(super) fn write(
    release: &Release,
    programs: &Programs,
    dependencies: &Dependencies,
) -> Result<(), String> {
    steps::began("components: CycloneDX");
    let name = format!("{}.cdx.json", release.name());
    let list = list(release.version, &programs.revision, release.epoch, dependencies);
    let text = serde_json::to_string_pretty(&list).map_err(|error| error.to_string())?;
    steps::write(&release.out.join(&name), text + "\n", 0o644)?;
    release.wrote(&name);
    Ok(())
}

fn list(version: &str, revision: &str, epoch: u64, dependencies: &Dependencies) -> Value {
    let at = chrono::DateTime::from_timestamp(epoch.try_into().unwrap_or_default(), 0).unwrap_or_default();
    let product = format!("outbox@{version}");
    let programs: Vec<String> =
        PROGRAMS.iter().map(|(_, package)| reference(&((*package).to_owned(), version.to_owned()))).collect();
    let mut graph = vec![json!({ "ref": product, "dependsOn": programs })];
    graph.extend(dependencies.0.iter().map(|(id, dependency)| {
        let needs: Vec<String> = dependency.needs.iter().map(reference).collect();
        json!({ "ref": reference(id), "dependsOn": needs })
    }));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            "component": {
                "type": "application",
                "bom-ref": product,
                "name": "outbox",
                "version": version,
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                "properties": [{ "name": "outbox:revision", "value": revision }],
            },
        },
        "components": dependencies.0.iter().map(component).collect::<Vec<_>>(),
        "dependencies": graph,
    })
}

fn component((id, dependency): (&Id, &Dependency)) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference(id),
        "name": id.0,
        "version": id.1,
        "purl": reference(id),
        // What only a build script or a macro needs is not in the programs.
        "scope": if dependency.is_linked { "required" } else { "excluded" },
        "licenses": [{ "expression": dependency.license }],
    });
    if let Some(checksum) = &dependency.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    component
}

/// A package URL. `+` begins metadata of a version, and has another meaning in a URL.
fn reference((name, version): &Id) -> String {
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}
