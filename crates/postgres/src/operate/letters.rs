//! The statement that reads dead letters.

/// The next page, the newest first if $11 says so.
pub(super) const NEXT: &str =
    "select l.seq, l.queue, q.rpc, l.event_id, case when $19 then '' else l.body end, l.attempts, l.code, l.reason, l.dead_at,
            l.dead_at::text, l.body_bytes
     from outbox.dead_letter_shown as l join outbox.queue as q on q.id = l.queue
     where ($11 or (l.seq, l.queue, l.event_id) > ($1, $9, $10)) and l.seq <= $8
       and (not $11 or $12::text is null or l.dead_at < $12::timestamptz
            or l.dead_at = $12::timestamptz and (l.seq, l.queue, l.event_id) > ($1, $9, $10))
       and ($2::text is null or q.rpc = $2)
       and ($3::uuid is null or l.event_id = $3)
       and ($4::text is null or l.code = $4)
       and ($5::interval is null or l.dead_at < clock_timestamp() - $5)
       and ($6::bigint is null or l.seq = $6)
       and ($18::timestamptz is null or l.dead_at <= $18 or l.dead_at > clock_timestamp() + interval '1 day')
       and ($17::text is null or position($17 in l.reason) > 0)
       and ($13::text is null or outbox.body_field(l.body, 'key') = $13)
       and ($14::text is null or outbox.body_field(l.body, 'name') = $14)
       and ($16::text is null or outbox.body_field(l.body, 'header', $15) = $16)
     order by case when $11 then l.dead_at end desc, l.seq, l.queue, l.event_id limit $7";
