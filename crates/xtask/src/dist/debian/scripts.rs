//! What runs when the package is installed, upgraded and removed.

/// By their names in the package.
pub(super) const SCRIPTS: [(&str, &str); 3] =
    [("postinst", INSTALLED), ("prerm", BEFORE_REMOVAL), ("postrm", REMOVED)];

/// An upgrade restarts nothing, because the schema comes first (UPGRADING.md).
const INSTALLED: &str = r#"#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers outbox.conf
    elif ! getent passwd outbox >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir /etc/outbox --shell /usr/sbin/nologin outbox
    fi
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
    fi
    if [ -z "$2" ]; then
        echo "outbox: fill in /etc/outbox/outbox.env, and put event_router.yaml and proto/ beside it. Then:"
        echo "    systemctl start outbox-migrate && systemctl enable --now outbox-relay outbox-worker"
    else
        echo "outbox: read /usr/share/doc/outbox/UPGRADING.md. Then:"
        echo "    systemctl start outbox-migrate && systemctl restart outbox-relay outbox-worker"
    fi
fi
"#;

const BEFORE_REMOVAL: &str = r#"#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now outbox-relay outbox-worker || true
fi
"#;

/// The user stays, as Debian advises: files may belong to it.
const REMOVED: &str = r#"#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
"#;
