-- The outbox: events that publishers write and one relay reads. Its rows are never updated, and never deleted one by one.
--
-- Why it looks like this. A queue that claims rows with update or delete fails under an old snapshot. Vacuum may not remove
-- rows that a snapshot might still see, and every fetch walks over the dead ones. So the big tables here are only ever appended
-- to and truncated. Each is a ring of partitions ("slots"), and a sequence points at the slot in use. The relay's leader moves
-- the pointer on, and truncates slots that are no longer needed. The relay's position is a pg_snapshot, not a number: "visible
-- now and not visible then" loses nothing and waits for no transaction. "id greater than last" would lose what commits late.
--
-- Names. Other schemas may hold functions and operators that match better than those of pg_catalog. So these files are run with
-- the search path pg_catalog. Functions in `language sql` are bound here and not when they are called, and every other function
-- sets its own path.
--
-- Locks. Advisory locks need no privilege, so any role can take them. Leadership is a row of outbox.leader, and a queue's turn
-- is the lock of its row in outbox.queue: both need a privilege. The doorbell is still an advisory lock: (1869968994, 1), which
-- is 'outb' in ASCII. A role that abuses it costs the relay some polls and publishers some notifications. By (1869968994, 3)
-- two migrations take turns.

revoke all on schema outbox from public;

-- The oldest schema version whose binaries work with this schema. They ask when they find a schema that is newer than their own.
-- A migration that takes away or changes what older binaries use replaces it with the oldest version that still works, or with
-- its own. Version 11 is the first that is released.
create function outbox.schema_compatible_from() returns bigint
language sql immutable parallel safe
return 11::bigint;

-- ------------------------------------------------------------------ rings

-- A ring's pointer is a sequence because reading last_value costs publishers two microseconds and no lock,
-- and setval leaves no dead tuple behind.
create sequence outbox.event_slot minvalue 0 start 0;
create sequence outbox.cursor_slot minvalue 0 start 0;
create sequence outbox.delivery_slot minvalue 0 start 0;
select setval('outbox.event_slot', 0), setval('outbox.cursor_slot', 0), setval('outbox.delivery_slot', 0);

-- What is known of each slot. The times in rows come from clocks of other processes, and an event may be put long after it was
-- written. The relay's retention corrects a time ahead of the clock.
create table outbox.ring (
    ring       text        not null,
    slot       smallint    not null,
    entered_at timestamptz not null default clock_timestamp(), -- when the pointer came here
    put_at     timestamptz,                                    -- since when all of its events are known to be put
    primary key (ring, slot)
);

insert into outbox.ring (ring, slot)
select 'event', n from generate_series(0, 7) as n union all
select 'delivery', n from generate_series(0, 7) as n union all
select 'cursor', n from generate_series(0, 1) as n;

-- ------------------------------------------------------------------ events

-- cache 1: the order of a key is the order in which its writers draw from here, one after another under the row's lock. A cache
-- per session would draw numbers in blocks and break that.
create sequence outbox.event_seq cache 1;

-- A publisher may write id, name, key, payload and headers. Nothing checks them here, so the relay checks each row. A check
-- constraint takes half as long as the INSERT, because each statement reads it anew.
create table outbox.event (
    -- The column order matters: a transaction has its xid before it draws a seq. Paging depends on that (cursor.floor_seq).
    xid         xid8        not null default pg_current_xact_id(),
    seq         bigint      not null default nextval('outbox.event_seq'),
    id          uuid        not null,
    name        text        not null,
    key         text,
    payload     text        not null, -- proto3 JSON, untouched: jsonb would reorder keys and respell numbers
    headers     text,                 -- a JSON object of strings
    occurred_at timestamptz not null default clock_timestamp(),
    -- The sequence has no last value before its first use, as after `alter sequence … restart`. Writing to any slot is safe,
    -- because the writer's lock prevents its truncation.
    slot        smallint    not null default coalesce(pg_sequence_last_value('outbox.event_slot'), 0)
) partition by list (slot);

create index event_window on outbox.event (xid, seq); -- the next window
create index event_page on outbox.event (seq);        -- pages of a large window; oldest and newest of a slot

-- ------------------------------------------------------------------ cursor log

create sequence outbox.cursor_id cache 1;

-- Append-only: updating one row in place under an old snapshot makes a version chain that every read walks.
create table outbox.cursor (
    id                bigint      not null default nextval('outbox.cursor_id'),
    -- Equal to the row's own xmin if this history of transaction ids wrote the row. A dump or logical replication copies the
    -- value and not the xmin. (outbox.newest_cursor)
    xid               xid8        not null default pg_current_xact_id(),
    snapshot          text        not null, -- everything visible in it has been put
    page_snapshot     text,                 -- while a window is put page by page: the window's end ...
    page_seq          bigint,               -- ... how far within it ...
    page_end_seq      bigint,               -- ... and a seq above all of it
    last_seq          bigint      not null, -- the highest seq ever put
    floor_seq         bigint      not null, -- below every seq of every transaction with xid >= the snapshot's xmax
    system_identifier bigint      not null, -- of the server that wrote it, for people
    relay             text        not null,
    at                timestamptz not null default clock_timestamp(),
    slot              smallint    not null
) partition by list (slot);

create index cursor_newest on outbox.cursor (id);

-- Moves while a leader lives. A standby takes over when it stands still.
create sequence outbox.heartbeat;

-- One row that names the leader, and changes only with it. The cursor fences: it advances only from its newest row, and a relay
-- that takes the lead appends a row first (outbox.cursor's lock orders the two).
create table outbox.leader (
    one   boolean     primary key default true check (one),
    term  bigint      not null default 0,
    relay text        not null default '',
    pid   integer,                        -- of the leader's session; null after it stepped down
    since timestamptz not null default clock_timestamp()
);

insert into outbox.leader default values;

-- ------------------------------------------------------------------ processes

-- The report of each running relay and worker, on both transports. It writes every few seconds, removes its row at its
-- end, and removes the rows of processes that were killed. Rows are updated. Under an old snapshot the former versions stay in
-- the index, so a process draws a new id every few minutes and no write walks over more than those.
create table outbox.process (
    id            uuid             primary key,
    name          text             not null,
    program       text             not null, -- relay or worker
    version       text             not null,
    revision      text,                      -- of the source, if the build knew it
    address       text,                      -- where it serves /metrics and /readyz
    router        text,                      -- a hash of its routes and policies; none without an event_router.yaml
    routes        text[]           not null, -- event, RPC, and a hash of the policy, for each route
    rpcs          text[]           not null, -- that a worker serves
    started_at    timestamptz      not null,
    seen_at       timestamptz      not null default clock_timestamp(),
    every_seconds double precision not null, -- the time between two writes
    report        text             not null  -- JSON: readiness, and breaker, last error and calls of each RPC
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- ------------------------------------------------------------------ parked

-- Events that the bus refused for good. All others went on.
create table outbox.parked (
    seq         bigint      not null,
    id          uuid        not null,
    name        text        not null,
    key         text,
    payload     text        not null,
    headers     text,
    occurred_at timestamptz not null,
    code        text        not null,
    reason      text        not null,
    cut         boolean     not null default false, -- only the beginnings of its texts are kept: it can't be published again
    parked_at   timestamptz not null default clock_timestamp(),
    primary key (seq, id) -- seq alone would lose an event if a sequence ever fell behind its table
);

-- ------------------------------------------------------------------ audit

-- The repairs of 400 days. An operator reads this, and writes it only through the functions that repair.
create table outbox.audit (
    id       uuid        primary key,
    at       timestamptz not null,
    who      text        not null, -- the system's user and host, from the command
    role     text        not null default session_user,
    command  text        not null,
    changed  bigint      not null default 0, -- rows so far
    ended_at timestamptz,
    result   text                  -- JSON; null while it runs, or after an interruption
);

create index audit_at on outbox.audit (at);

-- ------------------------------------------------------------------ queues (the postgres transport)

create table outbox.queue (
    id   integer  generated always as identity primary key,
    rpc  text     not null unique,
    turn smallint not null default 0, -- never written: the right to update it is the right to lock the row
    poison_until timestamptz          -- until then workers dead-letter what the RPC refuses, however much: `outbox poison`
);

create sequence outbox.delivery_seq cache 1;

-- A queue is a log. Only the leader appends, in the transaction that advances its cursor and one transaction at a time. So here
-- seq order is commit order, and "seq > head" misses nothing.
create table outbox.delivery (
    seq         bigint      not null default nextval('outbox.delivery_seq'),
    queue       integer     not null,
    event_id    uuid        not null,
    body        text        not null,
    enqueued_at timestamptz not null default clock_timestamp(),
    slot        smallint    not null
) partition by list (slot);

create index delivery_queue on outbox.delivery (queue, seq); -- the next of a queue
create index delivery_age on outbox.delivery (seq);          -- oldest and newest of a slot

create sequence outbox.claim_id cache 1;

-- One row claims a whole batch: queue, first_seq..last_seq, until. The newest row of a queue is its head, and is kept after
-- it is closed (until is null). Heads are read newest first, so dead rows cost nothing.
-- An open claim is the lease of each event of its batch that has no row in outbox.dedup and is in no receipt.
create table outbox.claim (
    id           bigint      primary key default nextval('outbox.claim_id'),
    queue        integer     not null,
    token        bigint      not null, -- random, because a sequence draws values again after a crash took them back
    first_seq    bigint      not null,
    last_seq     bigint      not null,
    until        timestamptz,
    leased_until timestamptz,          -- the end of its leases, which may be later than its own
    first_id     uuid,                 -- the lowest id of its batch
    last_id      uuid,                 -- the highest id of its batch
    worker       text        not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create index claim_head on outbox.claim (queue, id);
create index claim_token on outbox.claim (token); -- the claim of a lease
-- Under an old snapshot closed claims stay in the indexes. So no statement reads these from the beginning. Each takes the
-- lowest id that may still matter (claims_from), as the last look found it.

-- How far each queue was received: deliveries with a higher seq wait.
create view outbox.queue_head as
select q.id as queue, q.rpc,
       coalesce((select c.last_seq from outbox.claim as c where c.queue = q.id order by c.id desc limit 1), 0) as seq
from outbox.queue as q;

-- Deliveries that need another attempt, one row each. Rows change here, but only those of failed deliveries.
create table outbox.retry (
    seq         bigint      not null,
    queue       integer     not null,
    event_id    uuid        not null,
    body        text        not null,
    enqueued_at timestamptz not null,
    attempts    integer     not null, -- begun, with any outcome
    due_at      timestamptz not null, -- while claimed: when the claim ends
    token       bigint,               -- of the claim: fences a worker that lost it
    last_code   text        not null,
    last_error  text        not null,
    failed_at   timestamptz not null default clock_timestamp(),
    noted       boolean     not null default false, -- outbox.history has an entry of it, so it gets one of the success, too
    primary key (seq, queue, event_id) -- seq alone would lose a delivery if the sequence ever fell behind
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Under an old snapshot delivered rows stay in this index, before those that are due. So statements begin at the due time of
-- the first live row that the last look found (due_from).
create index retry_due on outbox.retry (queue, due_at);
create index retry_event on outbox.retry (event_id); -- `outbox why`; only failures pay for it

create table outbox.dead_letter (
    seq         bigint      not null,
    queue       integer     not null,
    event_id    uuid        not null,
    body        text        not null,
    enqueued_at timestamptz not null,
    attempts    integer     not null,
    code        text        not null,
    reason      text        not null,
    dead_at     timestamptz not null default clock_timestamp(),
    primary key (seq, queue, event_id) -- likewise
);

create index dead_letter_queue on outbox.dead_letter (queue, dead_at);
create index dead_letter_event on outbox.dead_letter (event_id);

-- ------------------------------------------------------------------ dedup

-- Successes and leases of deliveries that have a row of their own in outbox.retry. The slot is the week of the event id (a v7
-- uuid contains its time), so a key is unique within one partition. A week is truncated as a whole once all of it is older
-- than 21 days.
create table outbox.dedup (
    slot     smallint    not null,
    event_id uuid        not null,
    rpc      text        not null,
    lease    bigint      not null, -- a fencing token: only its holder may complete
    until    timestamptz not null, -- the lease's end
    done_at  timestamptz,
    primary key (slot, event_id, rpc)
) partition by list (slot);

-- Successes of a queue's log. A batch has a receipt for each minute of the time in its ids. So the receipt of any id lies in
-- the id's slot. Its last id lies between the id and the end of the id's minute. Ids without a time have a receipt each.
-- The relay folds small receipts.
create table outbox.receipt (
    slot     smallint    not null,
    small    boolean     not null, -- to be folded
    done_at  timestamptz not null, -- when the last one was done
    first_id uuid        not null,
    last_id  uuid        not null,
    rpc      text        not null,
    ids      uuid[]      not null
) partition by list (slot);

alter table outbox.receipt alter column ids set storage external; -- ids are random, so compression saves nothing
create index receipt_last on outbox.receipt (rpc, last_id);
create index receipt_small on outbox.receipt (date_trunc('minute', done_at at time zone 'UTC'), rpc) where small;

create function outbox.id_millis(id uuid) returns bigint
language sql immutable strict parallel safe
return ('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint;

create function outbox.dedup_slot(id uuid) returns smallint
language sql immutable strict parallel safe
return ((('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 604800000) % 5)::smallint;

-- The last id of the same minute. A strict function could not be inlined.
create function outbox.minute_end(id uuid) returns uuid
language sql immutable parallel safe
return (lpad(to_hex(least((outbox.id_millis(id) / 60000 + 1) * 60000 - 1, 281474976710655)), 12, '0')
        || 'ffffffffffffffffffff')::uuid;

-- All successes, for operators. Programs find those of single events by outbox.recorded.
create view outbox.done as
select d.slot, d.event_id, d.rpc, d.done_at from outbox.dedup as d where d.done_at is not null
union all
select r.slot, k.id, r.rpc, r.done_at from outbox.receipt as r cross join unnest(r.ids) as k (id);

-- When a slot was last written to for an event that is not of these days. All other records of a slot are as old as its week,
-- so no row is read to decide on its truncation. It is exact to a day, so that it is rarely written.
create table outbox.dedup_late (
    slot   smallint    primary key,
    newest timestamptz not null default '-infinity'
);

insert into outbox.dedup_late (slot) select n from generate_series(0, 4) as n;

-- The slots of those ids that are more than two days old, or more than a day ahead of the clock.
create function outbox.late_slots(ids uuid[]) returns smallint[]
language sql stable parallel safe
return array(
    select outbox.dedup_slot(k.id) from unnest(ids) as k (id)
    where outbox.id_millis(k.id) not between
        (extract(epoch from statement_timestamp()) * 1000)::bigint - 172800000
        and (extract(epoch from statement_timestamp()) * 1000)::bigint + 86400000);

-- ------------------------------------------------------------------ partitions

-- autovacuum is off where rows are only ever truncated, because it would find nothing to do.
-- (Postgres still runs its anti-wraparound vacuum.)
do $$
begin
    for i in 0..7 loop
        execute format('create table outbox.event_%1$s partition of outbox.event for values in (%1$s)
                        with (autovacuum_enabled = off, toast.autovacuum_enabled = off)', i);
        -- A re-seed updates rows, which Postgres refuses in a published table without an identity.
        execute format('alter table outbox.event_%1$s replica identity full', i);
        execute format('create table outbox.delivery_%1$s partition of outbox.delivery for values in (%1$s)
                        with (autovacuum_enabled = off, toast.autovacuum_enabled = off)', i);
    end loop;
    for i in 0..1 loop
        execute format('create table outbox.cursor_%1$s partition of outbox.cursor for values in (%1$s)
                        with (autovacuum_enabled = off)', i);
    end loop;
    for i in 0..4 loop
        execute format('create table outbox.dedup_%1$s partition of outbox.dedup for values in (%1$s)
                        with (fillfactor = 70)', i);
        execute format('create table outbox.receipt_%1$s partition of outbox.receipt for values in (%1$s)', i);
        -- Without an identity Postgres refuses to fold receipts that a publication publishes.
        execute format('alter table outbox.receipt_%1$s replica identity full', i);
    end loop;
end $$;

-- The beginning of time: nothing is visible in this snapshot, so the first window has everything that was published before the
-- first relay started.
insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
select '1:1:', 0, 0, system_identifier, 'migration', 0 from pg_control_system();

-- The newest cursor, and whether its transaction ids are this server's. A copy of the row by a dump or logical replication has
-- an xmin of its own, even with the same system identifier (a physical copy). pg_upgrade and failover leave the row unchanged.
-- An xmax that this server has not reached is of another history, too.
create view outbox.newest_cursor as
select c.*,
       c.xmin::text::bigint = c.xid::text::bigint % 4294967296
       and greatest(pg_snapshot_xmax(c.snapshot::pg_snapshot), pg_snapshot_xmax(coalesce(c.page_snapshot, c.snapshot)::pg_snapshot))
           <= pg_snapshot_xmax(pg_current_snapshot()) as ours,
       -- The xmin as a full transaction id: the newest one with these 32 bits.
       (m.current - (m.current - c.xmin::text::bigint) % 4294967296)::text::xid8 as written_by
from outbox.cursor as c, (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as current) as m
order by c.id desc limit 1;
