//! What the company's CI runs before a merge.

use super::folder::Company;

const GIT: &str = "git -c user.name=Acme -c user.email=dev@acme.example -c commit.gpgsign=false";

/// The proto option comes from `outbox proto`, other compilers read the files, and the first version is committed. It is
/// checked out as a release, too.
pub(super) async fn the_first_version_is_checked(company: &Company) {
    company.done(&[], "outbox proto --out third_party/outbox").await;
    company.done(&[], "buf build").await;
    company.done(&[], "buf lint").await;

    let said = company.done(&[], "outbox check").await;
    assert_eq!(said, "ok: 2 events, 3 subscribers");
    let said = company.done(&[], "outbox check --format github").await;
    assert_eq!(said, "", "nothing is wrong, so there is no annotation");
    let ran = company.run(&[], "outbox check --services services.yaml").await;
    assert!(ran.code == 1 && ran.out.contains("no address for ArchiveService in services.yaml"), "{ran:?}");
    assert!(!ran.out.contains("no address for LedgerService"), "{ran:?}");

    company.done(&[], &format!("git init -q && git add -A && {GIT} commit -q -m first")).await;
    company.done(&[], "git worktree add -q releases/1 HEAD").await;
}

/// What breaks events in flight is annotated. A second version of a service is told how to keep the queue, and does.
pub(super) async fn a_second_version_of_a_service_is_checked(company: &Company) {
    const EVENT: &str = "proto/acme/card/v1/card_event.proto";
    const CHECK: &str = "outbox check --format github --against HEAD";
    company.edit(EVENT, |text| text.replace("int64 limit_minor = 6", "int64 limit = 6"));
    let ran = company.run(&[], CHECK).await;
    let annotation = format!("::error file={EVENT},line=");
    assert!(ran.code == 1 && ran.out.contains(&annotation), "{ran:?}");
    assert!(ran.out.contains("`limit_minor` was renamed to `limit`"), "{ran:?}");
    company.done(&[], &format!("git checkout -q -- {EVENT}")).await;

    company.edit("event_router.yaml", |text| {
        text.replace("LedgerService/RecordCard", "LedgerService/RecordCart")
    });
    let ran = company.run(&[], CHECK).await;
    let annotation = "::error file=event_router.yaml,line=4,";
    assert!(ran.code == 1 && ran.out.contains(annotation) && ran.out.contains("RecordCard"), "{ran:?}");
    company.done(&[], "git checkout -q -- event_router.yaml").await;

    let first = std::fs::read(company.file("event_router.yaml")).unwrap();
    company.add_the_second_version();
    let second = std::fs::read(company.file("event_router.yaml")).unwrap();
    std::fs::write(company.file("event_router.yaml"), first).unwrap();
    let ran = company.run(&[], CHECK).await;
    assert!(ran.code == 1 && ran.out.contains("there are several services 'NotifyService'"), "{ran:?}");
    assert!(ran.out.contains("and queue: 'NotifyService/NotifyCardIssued'"), "{ran:?}");
    std::fs::write(company.file("event_router.yaml"), second).unwrap();
    let said = company.done(&[], CHECK).await;
    assert!(!said.contains("::error"), "{said}");
    company.done(&[], &format!("git add -A && {GIT} commit -q -m second")).await;
}
