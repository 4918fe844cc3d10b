//! The privileges that relay, worker, operator and viewer use. `outbox.grant_to` gives them, and a test compares the two.

/// Names of tables and views as patterns, a column list where columns are enough, and privileges.
type Table = (&'static str, &'static str, &'static str);

pub(super) struct Needs {
    pub(super) program: &'static str,
    tables: &'static [Table],
    sequences: &'static [(&'static str, &'static str)],
    functions: &'static str,
}

pub(super) const RELAY: Needs = Needs {
    program: "relay",
    tables: &[
        ("migration|newest_cursor|queue_head|brake", "", "select"),
        ("event", "", "select"),
        ("event", " (xid, seq)", "update"),
        ("cursor", "", "select, insert, truncate"),
        ("(event|cursor|delivery|dedup|receipt|history)_[0-9]|waking", "", "select, truncate"),
        ("delivery|parked|queue", "", "select, insert"),
        ("queue", " (turn)", "update"),
        ("leader|ring|dedup_late", "", "select, update"),
        ("claim|retry|dead_letter|receipt|process", "", "select, insert, update, delete"),
        ("known_event|unknown_event", "", "select, insert, update, delete"),
        ("dedup", "", "select, insert, delete"),
        ("audit", "", "select, delete"),
        ("audit_shown", "", "select"),
        ("history", "", "insert"),
    ],
    sequences: &[(".*", "usage, select, update")],
    functions: "check_sequences, cursor_now, slot_in_use, slot_is_empty, truncate_slot, truncate_dedup, \
                truncate_waking, fold_receipts, minute_end, dedup_slot, id_millis, turn, evict_to_retry, \
                next_claim, requeue, recover, keep_leases, claimed, recorded, recorded_0, recorded_1, \
                recorded_2, recorded_3, recorded_4, note_late, late_slots, token, sane_time, turn_history, \
                know_events, tell_unknown, schema_compatible_from",
};

pub(super) const WORKER: Needs = Needs {
    program: "worker",
    tables: &[
        ("migration|delivery|queue_head|brake", "", "select"),
        ("queue|dead_letter", "", "select, insert"),
        ("queue", " (turn)", "update"),
        ("claim|retry|process", "", "select, insert, update, delete"),
        ("dedup|dedup_[0-9]", "", "select, insert, update"),
        ("receipt", "", "select, insert"),
        ("receipt_[0-9]", "", "select"),
        ("dedup_late", "", "select, update"),
        ("history", "", "insert"),
    ],
    sequences: &[("claim_id|queue_id_seq", "usage"), ("history_slot", "select")],
    functions: "receive, receive_due, claimed, recorded, recorded_0, recorded_1, recorded_2, recorded_3, \
                recorded_4, lease, record, record_rows, release, release_0, release_1, release_2, \
                release_3, release_4, settle, keep_leases, requeue, recover, token, dedup_slot, id_millis, \
                minute_end, note_late, late_slots, sane_time, keeps_attempt, keep_history, schema_compatible_from",
};

pub(super) const OPERATOR: Needs = Needs {
    program: "an operator",
    tables: &[(".*", "", "select")],
    sequences: &[(".*", "select")],
    functions: "check_sequences, slot_is_empty, sane_time, dedup_slot, id_millis, minute_end, recorded, \
                recorded_0, recorded_1, recorded_2, recorded_3, recorded_4, repair_begin, repair_end, \
                repair_start, repair_progress, repair_stop, repair_pace, undo, redrive, drop_dead_letters, \
                replay, retry_parked, drop_parked, poison, set_brake, lift_brake, body_field, take_log, \
                retry_now, give_up, move_waiting, move_dead, carry_records, drop_waiting, remove_queue, \
                header_names, without_contents, schema_compatible_from",
};

pub(super) const VIEWER: Needs = Needs {
    program: "a viewer",
    tables: &[
        ("migration|ring|cursor|newest_cursor|leader|process|queue|queue_name|former_queue", "", "select"),
        (
            "audit",
            " (id, at, who, role, command, changed, ended_at, result, kind, rpc, bound, total, reached, place, beat_at, stop_by, rate, rate_by, paused_by, taken_back)",
            "select",
        ),
        ("queue_head|claim|brake|dropped|dedup|dedup_late|receipt|done|history", "", "select"),
        ("known_event|unknown_event", "", "select"),
        ("(event|parked|delivery|retry|dead_letter|audit)_shown", "", "select"),
        ("(cursor|dedup|receipt|history)_[0-9]", "", "select"),
        ("(event|delivery)_[0-9]", " (seq)", "select"),
        ("event", " (xid, seq, id, name, key, occurred_at, slot)", "select"),
        ("delivery", " (seq, queue, event_id, enqueued_at, slot)", "select"),
        (
            "retry",
            " (seq, queue, event_id, enqueued_at, attempts, due_at, token, last_code, last_error, failed_at, repair)",
            "select",
        ),
        (
            "dead_letter",
            " (seq, queue, event_id, enqueued_at, attempts, code, reason, dead_at, repair)",
            "select",
        ),
        ("parked", " (seq, id, name, key, occurred_at, code, reason, cut, parked_at)", "select"),
    ],
    sequences: &[(".*", "select")],
    functions: "check_sequences, slot_is_empty, sane_time, dedup_slot, id_millis, minute_end, recorded, \
                recorded_0, recorded_1, recorded_2, recorded_3, recorded_4, body_field, header_names, \
                without_contents, schema_compatible_from",
};

impl Needs {
    /// One row for each pattern and privilege.
    pub(super) fn tables(&self) -> (Vec<&'static str>, Vec<&'static str>, Vec<&'static str>) {
        let (mut patterns, mut columns, mut privileges) = (Vec::new(), Vec::new(), Vec::new());
        for (pattern, of, all) in self.tables {
            for privilege in all.split(", ") {
                patterns.push(*pattern);
                columns.push(*of);
                privileges.push(privilege);
            }
        }
        (patterns, columns, privileges)
    }

    pub(super) fn functions(&self) -> Vec<&'static str> {
        self.functions.split(", ").collect()
    }

    pub(super) fn sequences(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let of = |(pattern, all): &(&'static str, &'static str)| {
            all.split(", ").map(|privilege| (*pattern, privilege)).collect::<Vec<_>>()
        };
        self.sequences.iter().flat_map(of).unzip()
    }
}
