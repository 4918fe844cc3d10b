-- The outbox: events written by publishers, read by one relay, never updated and never deleted row by row.
--
-- Why it looks like this. A queue that claims rows with update or delete dies under an old snapshot: vacuum
-- may not remove what somebody might still see, and every fetch walks over the dead. So the big tables here
-- are only ever appended to and truncated: each is a ring of partitions ("slots"), a sequence points at the
-- slot in use, and the relay's leader moves the pointer on and truncates what nobody needs any more.
-- The relay's position is a pg_snapshot, not a number: "visible now and not visible then" loses nothing and
-- waits for nobody, where "id greater than last" loses what commits late.
--
-- Whose names these are. Other schemas may hold functions and operators that match better than those of pg_catalog.
-- So this file is run with the search path pg_catalog, functions in `language sql` are bound here and not when they are
-- called, and every other function sets its own path.
--
-- Who decides. Advisory locks need no privilege, so any role can take them. Leadership is a row of outbox.leader, and a
-- queue's turn is the lock of its row in outbox.queue: both need a privilege. One advisory lock is left, the doorbell
-- (1869968994, 1): 'outb' in ASCII. A role that abuses it costs the relay some polls and publishers some notifications.
-- (1869968994, 3) lets two migrations take turns.

-- ------------------------------------------------------------------ rings

-- A ring's pointer is a sequence because reading last_value costs publishers two microseconds and no lock,
-- and setval leaves no dead tuple behind.
create sequence outbox.event_slot minvalue 0 start 0;
create sequence outbox.cursor_slot minvalue 0 start 0;
create sequence outbox.delivery_slot minvalue 0 start 0;
select setval('outbox.event_slot', 0), setval('outbox.cursor_slot', 0), setval('outbox.delivery_slot', 0);

-- What is known of each slot: rows' own times come from clocks of other processes, and an event may be put long after it
-- was written. A time ahead of the clock is set right by the relay's retention.
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

-- cache 1: the order of a key is the order in which its writers, one after another under the row's lock, draw
-- from here. A cache per session would deal out numbers in blocks and break that.
create sequence outbox.event_seq cache 1;

create table outbox.event (
    -- The column order is load-bearing: a transaction has its xid before it draws a seq. Paging relies on it
    -- (cursor.floor_seq).
    xid         xid8        not null default pg_current_xact_id(),
    seq         bigint      not null default nextval('outbox.event_seq'),
    id          uuid        not null,
    name        text        not null,
    key         text,
    payload     text        not null, -- proto3 JSON, untouched: jsonb would reorder keys and respell numbers
    headers     text,                 -- a JSON object of strings
    occurred_at timestamptz not null default clock_timestamp(),
    slot        smallint    not null
) partition by list (slot);

create index event_window on outbox.event (xid, seq); -- the next window
create index event_page on outbox.event (seq);        -- pages of a large window; oldest and newest of a slot

-- ------------------------------------------------------------------ cursor log

create sequence outbox.cursor_id cache 1;

-- Append-only: updating one row in place under an old snapshot grows a version chain that every read walks.
create table outbox.cursor (
    id                bigint      not null default nextval('outbox.cursor_id'),
    -- Equal to the row's own xmin wherever the row was written by this history of transaction ids. A dump or logical
    -- replication copies the value and not the xmin. (outbox.newest_cursor)
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

-- Moves while a leader lives; a standby that sees it stand still takes over.
create sequence outbox.heartbeat;

-- Who leads: one row. It changes only when the lead does. The cursor fences: it goes on only from its newest row, and a
-- relay that takes the lead appends a row first (outbox.cursor's lock orders the two).
create table outbox.leader (
    one   boolean     primary key default true check (one),
    term  bigint      not null default 0,
    relay text        not null default '',
    pid   integer,                        -- of the leader's session; null after it stepped down
    since timestamptz not null default clock_timestamp()
);

insert into outbox.leader default values;

-- ------------------------------------------------------------------ parked

-- Events that the bus refused for good. Everyone else has gone on.
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
    parked_at   timestamptz not null default clock_timestamp(),
    primary key (seq, id) -- seq alone would lose an event if a sequence ever fell behind its table
);

-- ------------------------------------------------------------------ audit

-- Who repaired what with the commands of `outbox`, and when. Kept for 400 days.
create table outbox.audit (
    id      uuid        primary key,
    at      timestamptz not null,
    who     text        not null, -- the system's user and host
    role    text        not null default current_user,
    command text        not null,
    result  text                  -- JSON; null while it runs, or if it did not live to tell
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

-- A queue is a log. Only the leader appends, inside the transaction that advances its cursor and one
-- transaction at a time, so here seq order is commit order and "seq > head" misses nothing.
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

-- One row claims a whole batch: queue, first_seq..last_seq, until. The newest row of a queue is its head and
-- is kept after it is closed (until is null); heads are read newest first, so the dead cost nothing.
create table outbox.claim (
    id        bigint      primary key default nextval('outbox.claim_id'),
    queue     integer     not null,
    token     bigint      not null, -- random, because a crash takes back sequence values and deals them out again
    first_seq bigint      not null,
    last_seq  bigint      not null,
    until     timestamptz,
    worker    text        not null
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create index claim_head on outbox.claim (queue, id);
-- Under an old snapshot closed claims stay in the indexes. So nothing here reads them from the beginning: statements take
-- the lowest id that may still matter (claims_from), as the last look found it.

-- Deliveries that need another attempt, one row each. Rows change here, but only for what failed.
create table outbox.retry (
    seq         bigint      primary key,
    queue       integer     not null,
    event_id    uuid        not null,
    body        text        not null,
    enqueued_at timestamptz not null,
    attempts    integer     not null, -- begun, whatever became of them
    due_at      timestamptz not null, -- while claimed: when the claim ends
    token       bigint,               -- of the claim: fences a worker that lost it
    last_code   text        not null,
    last_error  text        not null,
    failed_at   timestamptz not null default clock_timestamp()
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);

-- Under an old snapshot what was delivered stays in this index, before what is due. So statements begin at the due time
-- of the first live row that the last look found (due_from).
create index retry_due on outbox.retry (queue, due_at);
create index retry_event on outbox.retry (event_id); -- `outbox why`; only failures pay for it

create table outbox.dead_letter (
    seq         bigint      primary key,
    queue       integer     not null,
    event_id    uuid        not null,
    body        text        not null,
    enqueued_at timestamptz not null,
    attempts    integer     not null,
    code        text        not null,
    reason      text        not null,
    dead_at     timestamptz not null default clock_timestamp()
);

create index dead_letter_queue on outbox.dead_letter (queue, dead_at);
create index dead_letter_event on outbox.dead_letter (event_id);

-- ------------------------------------------------------------------ dedup

-- What was done, and who is doing what. The slot is the week of the event id (a v7 uuid carries its time), so
-- a key is unique within one partition, and a week is truncated as a whole once all of it is older than 21 days.
create table outbox.dedup (
    slot     smallint    not null,
    event_id uuid        not null,
    rpc      text        not null,
    lease    bigint      not null, -- a fencing token: only its holder may complete
    until    timestamptz not null, -- the lease's end
    done_at  timestamptz,
    primary key (slot, event_id, rpc)
) partition by list (slot);

create function outbox.id_millis(id uuid) returns bigint
language sql immutable strict parallel safe
return ('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint;

create function outbox.dedup_slot(id uuid) returns smallint
language sql immutable strict parallel safe
return ((('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 604800000) % 5)::smallint;

-- When a slot was last written to for an event that is not of these days. All other records of a slot are as old as its
-- week, so whether a slot may be truncated needs no look at its rows. Exact to a day, so that it is rarely written.
create table outbox.dedup_late (
    slot   smallint    primary key,
    newest timestamptz not null default '-infinity'
);

insert into outbox.dedup_late (slot) select n from generate_series(0, 4) as n;

-- The slots of those ids that are more than two days old, or ahead of the clock by a day.
create function outbox.late_slots(ids uuid[]) returns smallint[]
language sql stable parallel safe
return array(
    select outbox.dedup_slot(k.id) from unnest(ids) as k (id)
    where outbox.id_millis(k.id) not between
        (extract(epoch from statement_timestamp()) * 1000)::bigint - 172800000
        and (extract(epoch from statement_timestamp()) * 1000)::bigint + 86400000);

-- ------------------------------------------------------------------ partitions

-- autovacuum is off where rows are only ever truncated: there is nothing for it to find but work.
-- (Postgres still runs its anti-wraparound vacuum.)
do $$
begin
    for i in 0..7 loop
        execute format('create table outbox.event_%1$s partition of outbox.event for values in (%1$s)
                        with (autovacuum_enabled = off, toast.autovacuum_enabled = off)', i);
        -- A re-seed updates rows; where a publication publishes them, Postgres refuses that without an identity.
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
    end loop;
end $$;

-- The beginning of time: nothing is visible in this snapshot, so whatever was published before the first
-- relay started is in its first window.
insert into outbox.cursor (snapshot, last_seq, floor_seq, system_identifier, relay, slot)
select '1:1:', 0, 0, system_identifier, 'migration', 0 from pg_control_system();

-- The newest cursor, and whether this server's transaction ids are those it speaks of. A copy of the row by a dump or by
-- logical replication has an xmin of its own, also where the system identifier is the same (a physical copy). After
-- pg_upgrade and failover the row is as it was. An xmax that this server has not reached is of another history, too.
create view outbox.newest_cursor as
select c.*,
       c.xmin::text::bigint = c.xid::text::bigint % 4294967296
       and greatest(pg_snapshot_xmax(c.snapshot::pg_snapshot), pg_snapshot_xmax(coalesce(c.page_snapshot, c.snapshot)::pg_snapshot))
           <= pg_snapshot_xmax(pg_current_snapshot()) as ours,
       -- The xmin as a full transaction id: the newest one with these 32 bits.
       (m.current - (m.current - c.xmin::text::bigint) % 4294967296)::text::xid8 as written_by
from outbox.cursor as c, (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as current) as m
order by c.id desc limit 1;

-- ------------------------------------------------------------------ enqueue

-- 48 bits of milliseconds over the first ones of a v4, and its version's bits set to 7. One expression, so that it becomes
-- part of the statement that calls it: planned by itself it cost more than the INSERT.
create function outbox.uuid_v7() returns uuid
language sql volatile parallel safe
return encode(set_bit(set_bit(
    overlay(uuid_send(gen_random_uuid()) placing
        substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
    52, 1), 53, 1), 'hex')::uuid;

create function outbox.payload_bytes_max() returns integer
language sql immutable parallel safe return 245760;

-- A text that is no JSON raises here and is caught here: Postgres's own message would quote the payload.
create function outbox.is_json_object(value text) returns boolean
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return json_typeof(value::json) = 'object';
exception when invalid_text_representation or statement_too_complex then
    return false;
end $$;

-- How many keys a JSON text has more than the jsonb that was made of it, which keeps one of two equal ones: counted by their
-- colons. A colon within a text counts on both sides, one that is written \u003a (behind an even number of backslashes) only
-- when it is written out.
create function outbox.keys_lost(value text, written text) returns integer
language sql immutable strict parallel safe
return octet_length(value) - octet_length(replace(value, ':', ''))
     + (octet_length(replace(value, '\\', '')) - octet_length(replace(replace(replace(value, '\\', ''), '\u003a', ''), '\u003A', ''))) / 6
     - octet_length(written) + octet_length(replace(written, ':', ''));

-- Whether a number is one that a double turns into infinity: half a step above the largest. Written out it has 309 digits.
create function outbox.has_huge_number(value jsonb) returns boolean
language sql immutable strict parallel safe
return jsonb_path_exists(value, 'strict $.** ? (@ >= 1.797693134862315807937289714053e308 || @ <= -1.797693134862315807937289714053e308)');

-- What is wrong with a payload, or null. What no reader of proto3 JSON takes must not get into the outbox: nobody could
-- repair it there. tests/payloads.json has the cases; the publisher's library has the same rule.
create function outbox.payload_problem(payload text) returns text
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    document jsonb;
    written  text;
begin
    document := payload::jsonb;
    if jsonb_typeof(document) <> 'object' then
        return 'is not a JSON object';
    end if;
    written := document::text;
    if outbox.keys_lost(payload, written) <> 0 then
        return 'has a key twice in one object';
    end if;
    if octet_length(written) >= 309 and written ~ '[0-9]{40}' and outbox.has_huge_number(document) then
        return 'has a number beyond what a double holds';
    end if;
    return null;
exception
    when numeric_value_out_of_range then
        return 'has a number beyond what a double holds';
    when statement_too_complex then
        return 'is nested too deep';
    when invalid_text_representation or untranslatable_character or character_not_in_repertoire then
        return case when outbox.is_json_object(payload)
               then 'has an escape that stands for no character: \u0000, or half of a surrogate pair'
               else 'is not a JSON object' end;
end $$;

-- Whether every header may be kept. Postgres quotes the value in its own message for an escape that no text can hold: so
-- that is caught here, too.
create function outbox.are_headers(value text) returns boolean
language plpgsql immutable strict parallel safe set search_path = pg_catalog, pg_temp as $$
begin
    return not exists (
        select from json_each(value::json) as h
        where json_typeof(h.value) <> 'string'
           or (h.value #>> '{}') !~ '^[ -~]*$'
           or h.key !~ '^[a-z][a-z0-9-]{0,63}$'
           or h.key ~ '^(outbox-|connect-|content-|accept|grpc-|proxy-)|-bin$'
           or h.key in ('host', 'connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade',
                        'authorization', 'cookie', 'idempotency-key', 'user-agent'));
exception when invalid_text_representation or untranslatable_character or character_not_in_repertoire or statement_too_complex then
    return false;
end $$;

create function outbox.check_entry(name text, payload text, key text, headers text) returns void
language plpgsql immutable parallel safe set search_path = pg_catalog, pg_temp as $$
declare
    problem text;
begin
    if name is null or name !~ '^[a-z][a-z0-9_]{0,127}$' then
        raise exception 'event name % is not lower_snake_case of at most 128 characters', coalesce(quote_literal(left(name, 128)), 'null')
            using errcode = 'invalid_parameter_value', hint = 'write it as in event_router.yaml, for example event_hoge_updated';
    end if;
    if payload is null or octet_length(payload) > outbox.payload_bytes_max() then
        raise exception 'payload of % is % bytes; at most % fit on the bus', name, coalesce(octet_length(payload)::text, 'no'), outbox.payload_bytes_max()
            using errcode = 'program_limit_exceeded', hint = 'put large data where the subscriber can fetch it, and its address in the event';
    end if;
    problem := outbox.payload_problem(payload);
    if problem is not null then
        raise exception 'payload of % %', name, problem
            using errcode = 'invalid_parameter_value', hint = 'pass the event''s message as proto3 JSON, for example {"hogeId":"1"}';
    end if;
    if octet_length(key) > 512 then
        raise exception 'key of % is % bytes; at most 512 are allowed', name, octet_length(key)
            using errcode = 'program_limit_exceeded', hint = 'use the id of what the event is about';
    end if;
    if headers is not null then
        if octet_length(headers) > 8192 then
            raise exception 'headers of % are % bytes; at most 8192 are allowed', name, octet_length(headers)
                using errcode = 'program_limit_exceeded', hint = 'headers are for tracing and routing; data belongs in the payload';
        end if;
        if not outbox.is_json_object(headers) then
            raise exception 'headers of % are not a JSON object', name
                using errcode = 'invalid_parameter_value', hint = 'for example {"tenant":"t-1"}';
        end if;
        if not outbox.are_headers(headers) then
            raise exception 'a header of % is reserved or malformed', name
                using errcode = 'invalid_parameter_value',
                      hint = 'names are lower-case letters, digits and dashes, values are printable ASCII strings; outbox-, connect-, content- and -bin names are taken';
        end if;
    end if;
end $$;

-- Rings when the relay sleeps, and only then: the relay holds this lock exclusively while it is asleep. A publisher that
-- gets it shared has seen the relay awake and keeps it so until its transaction ends, because the relay can't fall asleep
-- while the lock is held, and polls once more when it is. A notify on every commit would hold a database-wide lock
-- across the commit's flush and cost publishers most of their throughput.
--
-- The notification itself waits for the end of the transaction: PREPARE TRANSACTION refuses a transaction that has
-- notified, and only at its end is it known how it ends. A prepared transaction's events are found by the relay's
-- fallback poll (`relay --fallback`) if it sleeps when they are committed.
create unlogged table outbox.ringing () with (autovacuum_enabled = off); -- truncated by the relay

create function outbox.wake() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- Null where a statement of the extended protocol commits by itself.
    if coalesce(current_query(), '') !~* ('(^|;)([[:space:]]|/[*].*?[*]/|--[^' || chr(10) || ']*' || chr(10) || ')*prepare[[:space:]]+transaction[[:space:]]+(e|u&)?[''$]') then
        perform pg_notify('outbox', '');
    end if;
    return null;
end $$;

create constraint trigger wake after insert on outbox.ringing
deferrable initially deferred for each row execute function outbox.wake();

create function outbox.ring() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if not pg_try_advisory_xact_lock_shared(1869968994, 1) then
        insert into outbox.ringing default values;
    end if;
end $$;

-- Publishes one event in the caller's transaction: if that commits, the event reaches every subscriber; if it
-- rolls back, nobody ever sees it. Returns the event's id.
create function outbox.enqueue(name text, payload text, key text default null, headers text default null, id uuid default null)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    document   jsonb;
    written    text;
    is_payload boolean;
begin
    -- As outbox.check_entry, which says what is wrong; that nothing is wrong is seen here, without a call, and with a regular
    -- expression only where there is room for a huge number: they took as long as the INSERT.
    begin
        if octet_length(payload) <= outbox.payload_bytes_max() then
            document := payload::jsonb;
            written := document::text;
            is_payload := jsonb_typeof(document) = 'object' and strpos(payload, '\u003') = 0
                and octet_length(payload) - octet_length(replace(payload, ':', '')) = octet_length(written) - octet_length(replace(written, ':', ''))
                and (octet_length(written) < 309 or written !~ '[0-9]{40}');
        end if;
    exception when invalid_text_representation or untranslatable_character or character_not_in_repertoire
                or numeric_value_out_of_range or statement_too_complex then
        is_payload := false;
    end;
    if is_payload is not true or headers is not null or octet_length(key) > 512
       or name is null or octet_length(name) > 128 or ascii(name) not between 97 and 122
       or translate(name, 'abcdefghijklmnopqrstuvwxyz0123456789_', '') <> '' then
        perform outbox.check_entry(name, case when is_payload then '{}' else payload end, key, headers);
    end if;
    -- As outbox.ring.
    if not pg_try_advisory_xact_lock_shared(1869968994, 1) then
        insert into outbox.ringing default values;
    end if;
    id := coalesce(id, outbox.uuid_v7());
    insert into outbox.event (id, name, key, payload, headers, slot)
    values (id, name, key, payload, headers, (select last_value from outbox.event_slot));
    return id;
end $$;

-- The same of what builds JSON: jsonb_build_object, to_jsonb, a column, a driver's parameter. A literal, whose type is not
-- known, is taken for text. One expression, so that it becomes part of the statement that calls it.
create function outbox.enqueue(name text, payload jsonb, key text default null, headers jsonb default null, id uuid default null)
returns uuid
language sql volatile
return outbox.enqueue(name, payload::text, key, headers::text, id);

-- And of json: row_to_json, and what SQLAlchemy's type JSON binds.
create function outbox.enqueue(name text, payload json, key text default null, headers json default null, id uuid default null)
returns uuid
language sql volatile
return outbox.enqueue(name, payload::text, key, headers::text, id);

-- The same for many, in the order of the arrays, with one statement and one ring of the bell.
create function outbox.enqueue_all(names text[], payloads text[], keys text[], headers text[], ids uuid[])
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if names is null or cardinality(names) = 0 then
        return;
    end if;
    if cardinality(names) <> cardinality(payloads) or cardinality(names) <> cardinality(keys)
       or cardinality(names) <> cardinality(headers) or cardinality(names) <> cardinality(ids) then
        raise exception 'names, payloads, keys, headers and ids differ in length'
            using errcode = 'invalid_parameter_value', hint = 'pass null elements for events without key or headers';
    end if;
    perform outbox.check_entry(e.name, e.payload, e.key, e.headers)
       from unnest(names, payloads, keys, headers) as e(name, payload, key, headers);
    insert into outbox.event (id, name, key, payload, headers, slot)
    select coalesce(e.id, outbox.uuid_v7()), e.name, e.key, e.payload, e.headers, (select last_value from outbox.event_slot)
    from unnest(ids, names, keys, payloads, headers) with ordinality as e(id, name, key, payload, headers, n)
    order by e.n;
    perform outbox.ring();
end $$;

-- The same of arrays of jsonb. It takes no ids: with five arguments a driver's untyped parameters could mean either function.
create function outbox.enqueue_all(names text[], payloads jsonb[], keys text[] default null, headers jsonb[] default null)
returns void
language sql volatile
return outbox.enqueue_all(names, payloads::text[],
    coalesce(keys, array_fill(null::text, array[coalesce(cardinality(names), 0)])),
    coalesce(headers::text[], array_fill(null::text, array[coalesce(cardinality(names), 0)])),
    array_fill(null::uuid, array[coalesce(cardinality(names), 0)]));

-- ------------------------------------------------------------------ receive

-- A fencing token. Not from a sequence: values drawn by a transaction that a crash takes back are drawn again.
create function outbox.token() returns bigint
language sql volatile parallel safe
return ('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint;

-- Claims up to n deliveries of an RPC's queue, hidden from others for a while. The lock of the queue's row makes claims of
-- the log take turns; each statement of a volatile function sees what the one before it in the queue committed.
-- What is new gets its lease in the dedup record at once, under the claim's token, unless there is a record of it already:
-- "leased" says so. To ask for it afterwards would be one more round trip for each batch.
-- The queue is found by its RPC's name each time: after a restore the same id may be another RPC's.
-- due_from: see outbox.receive_due. Of what is due, the rows come with the time they were due at.
-- Asynchronous commit is safe: a claim lost in a crash is made again, and the dedup record, written durably
-- and later in the WAL, says what was done.
create function outbox.receive(rpc_name text, n integer, hidden interval, worker_name text, leased_for interval, due_from timestamptz)
returns table (queue integer, seq bigint, claim bigint, token bigint, event_id uuid, body text, attempt integer,
               enqueued_at timestamptz, leased boolean, due_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp
set lock_timeout = '2s' -- Turns take microseconds. But a worker that froze while its answer was being sent holds the lock.
as $$
#variable_conflict use_column
declare
    q         integer := (select w.id from outbox.queue as w where w.rpc = rpc_name);
    -- What is due for another attempt gets half of the places, and an odd one every other time: neither may
    -- starve the other, not even one at a time.
    share     integer := n / 2 + (n % 2) * floor(random() * 2)::integer;
    taken     integer;
    more      integer;
    head      bigint;
    new_id    bigint;
    new_token bigint := outbox.token();
begin
    if q is null then
        return; -- the worker's next look makes the queue again
    end if;
    return query select q, * from outbox.receive_due(q, share, hidden, due_from);
    get diagnostics taken = row_count;

    perform from outbox.queue as w where w.id = q for update;
    select c.last_seq into head from outbox.claim as c where c.queue = q order by c.id desc limit 1;
    new_id := nextval('outbox.claim_id');
    return query
        with batch as materialized (
            select d.seq, d.event_id, d.body, d.enqueued_at from outbox.delivery as d
            where d.queue = q and d.seq > coalesce(head, 0)
            order by d.seq limit n - taken
        ), claimed as (
            insert into outbox.claim (id, queue, token, first_seq, last_seq, until, worker)
            select new_id, q, new_token, min(b.seq), max(b.seq), clock_timestamp() + hidden, worker_name from batch as b
            having count(*) > 0
        ), leased as (
            -- In the keys' order, as every statement here: two that lock them crosswise would wait for each other.
            insert into outbox.dedup (slot, event_id, rpc, lease, until)
            select outbox.dedup_slot(b.event_id), b.event_id, rpc_name, new_token, clock_timestamp() + leased_for
            from batch as b order by b.event_id
            on conflict do nothing
            returning event_id
        ), late as (
            update outbox.dedup_late as l set newest = clock_timestamp()
            where l.newest < clock_timestamp() - interval '1 day'
              and l.slot = any (outbox.late_slots(array(select b.event_id from batch as b)))
        )
        select q, b.seq, new_id, new_token, b.event_id, b.body, 1, outbox.sane_time(b.enqueued_at),
               b.event_id in (select l.event_id from leased as l), null::timestamptz
        from batch as b order by b.seq;
    get diagnostics more = row_count;

    if taken = share and taken + more < n then
        return query select q, * from outbox.receive_due(q, n - taken - more, hidden, due_from);
    end if;
end $$;

-- A row may hold any time, infinity among them, and programs can't read them all.
create function outbox.sane_time(at timestamptz) returns timestamptz
language sql stable parallel safe
return case when at is not null then greatest(least(at, statement_timestamp()), statement_timestamp() - interval '1000 years') end;

-- The part of outbox.receive that has a row per delivery. No claim id: the row is the claim. Rows that another worker takes
-- at the same time are skipped, so that nobody waits for this look, however long it takes.
-- due_from: nothing due before it is looked for. (Not in language sql, which would plan it anew each time.)
create function outbox.receive_due(q integer, n integer, hidden interval, due_from timestamptz)
returns table (seq bigint, claim bigint, token bigint, event_id uuid, body text, attempt integer, enqueued_at timestamptz,
               leased boolean, due_at timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    by_now timestamptz := clock_timestamp(); -- a volatile function would be no index condition
begin
    if n <= 0 then
        return;
    end if;
    return query
        with due as materialized (
            select d.seq, d.due_at from outbox.retry as d
            where d.queue = q and d.due_at >= due_from and d.due_at <= by_now
            order by d.due_at limit n for update skip locked
        )
        update outbox.retry as r
        set due_at = clock_timestamp() + hidden, token = outbox.token(), attempts = r.attempts + 1
        where r.seq = any (array(select due.seq from due))
        returning r.seq, null::bigint, r.token, r.event_id, r.body, r.attempts, outbox.sane_time(r.enqueued_at), false,
                  (select outbox.sane_time(due.due_at) from due where due.seq = r.seq);
end $$;

-- Settles messages that a worker has received, all of them or none: what needs another attempt, what is dead, and what is
-- done and has a row of its own. Then it closes the claims that are settled as a whole. A message whose claim was lost is
-- somebody else's, and stays as it is. A claim's messages get rows before it is closed: a crash takes back both.
-- It locks the claims first, as outbox.recover does: two that lock them crosswise would wait for each other.
-- fates: 'retry', 'dead' or 'done'. A claim is null for a message with a row of its own.
create function outbox.settle(queues integer[], seqs bigint[], claims bigint[], tokens bigint[], fates text[], waits interval[],
                              counted boolean[], codes text[], texts text[], closed bigint[], closed_tokens bigint[])
returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    m record;
begin
    perform from outbox.claim as c where c.id = any (claims || closed) order by c.id for no key update;
    -- The worker counts what is left of a claim, and closes it with the last of it. So what is written before must outlast a
    -- crash of the server: the worker's count does.
    if exists (select from unnest(claims) as k (claim) where k.claim <> all (closed)) then
        perform set_config('synchronous_commit', 'on', true);
    end if;
    for m in
        select k.* from unnest(queues, seqs, claims, tokens, fates, waits, counted, codes, texts)
            as k (queue, seq, claim, token, fate, wait, counts, code, why)
        order by k.seq
    loop
        if m.fate = 'retry' and m.claim is not null then
            insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
            select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, case when m.counts then 1 else 0 end,
                   clock_timestamp() + m.wait, m.code, m.why
            from outbox.delivery as d
            where d.queue = m.queue and d.seq = m.seq
              and exists (select from outbox.claim as c where c.id = m.claim and c.token = m.token and c.until is not null)
            on conflict (seq) do nothing;
        elsif m.fate = 'retry' then
            update outbox.retry as r
            set due_at = clock_timestamp() + m.wait, token = null, last_code = m.code, last_error = m.why,
                failed_at = clock_timestamp(), attempts = r.attempts - case when m.counts then 0 else 1 end
            where r.seq = m.seq and r.token = m.token and r.queue = m.queue;
        elsif m.fate = 'dead' and m.claim is not null then
            insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
            select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, 1, m.code, m.why
            from outbox.delivery as d
            where d.queue = m.queue and d.seq = m.seq
              and exists (select from outbox.claim as c where c.id = m.claim and c.token = m.token and c.until is not null)
            on conflict (seq) do nothing;
        elsif m.fate = 'dead' then
            with moved as (
                delete from outbox.retry as r where r.seq = m.seq and r.token = m.token and r.queue = m.queue
                returning r.seq, r.queue, r.event_id, r.body, r.enqueued_at, r.attempts
            )
            insert into outbox.dead_letter (seq, queue, event_id, body, enqueued_at, attempts, code, reason)
            select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, d.attempts, m.code, m.why from moved as d
            on conflict (seq) do nothing;
        else
            delete from outbox.retry as r where r.seq = m.seq and r.token = m.token and r.queue = m.queue;
        end if;
    end loop;
    update outbox.claim as c set until = null
    where c.id = any (closed) and c.token = any (closed_tokens) and c.until is not null;
end $$;

-- Moves what is left of a range of a queue's log to outbox.retry. Rows already retried or dead stay as they
-- are; rows already done come along and are recognised by their dedup record.
create function outbox.requeue(q integer, first bigint, last bigint, made integer, why_code text, why text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    moved bigint;
begin
    insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
    select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, made, clock_timestamp(), why_code, why
    from outbox.delivery as d
    where d.queue = q and d.seq between first and last
      and not exists (select from outbox.dead_letter as l where l.seq = d.seq)
    on conflict (seq) do nothing;
    get diagnostics moved = row_count;
    return moved;
end $$;

-- Gives back what workers claimed and never settled: they died, or hang. Returns how many deliveries that was.
create function outbox.recover(q integer, claims_from bigint) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    c         record;
    recovered bigint := 0;
begin
    perform from outbox.queue as w where w.id = q for update skip locked;
    if not found then
        return 0; -- next time
    end if;
    for c in
        select id, first_seq, last_seq, worker from outbox.claim
        where queue = q and id >= claims_from and until < clock_timestamp() for update
    loop
        recovered := recovered + outbox.requeue(q, c.first_seq, c.last_seq, 1, 'lease_expired',
            'worker ' || c.worker || ' did not settle it in time');
        update outbox.claim set until = null where id = c.id;
    end loop;
    delete from outbox.claim as old where old.queue = q and old.id >= claims_from and old.until is null
        and old.id < (select max(newest.id) from outbox.claim as newest where newest.queue = q);
    return recovered;
end $$;

-- ------------------------------------------------------------------ rings turn

-- The newest durable cursor. Retention may only trust what a crash can't take back, and so reads the table.
create function outbox.cursor_now() returns outbox.cursor
language sql stable
return (select c from outbox.cursor as c order by c.id desc limit 1);

-- A slot without a file has no row, whoever may see it; one with a file may hold rows that are not committed yet.
create function outbox.slot_is_empty(ring text, s integer) returns boolean
language sql volatile
return pg_relation_size(('outbox.' || ring || '_' || s)::regclass) = 0;

-- Is there anything in this slot of the ring that somebody may still need? The caller holds a lock that keeps writers out.
-- A cursor of another history says nothing of what was put.
create function outbox.slot_in_use(ring text, s smallint, claims_from bigint) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    put  pg_snapshot;
    ours boolean;
begin
    case ring
    when 'event' then
        select c.snapshot::pg_snapshot, c.ours into put, ours from outbox.newest_cursor as c;
        return ours is not true
            or exists (select from outbox.event where slot = s and xid >= pg_snapshot_xmax(put))
            or exists (select from outbox.event where slot = s and xid = any (array(select pg_snapshot_xip(put))));
    when 'cursor' then
        return s = (select (outbox.cursor_now()).slot);
    when 'delivery' then
        return exists (
            select from outbox.queue as q
            cross join lateral (
                select coalesce((select c.last_seq from outbox.claim as c where c.queue = q.id order by c.id desc limit 1), 0) as seq
            ) as head
            where exists (select from outbox.delivery as d where d.slot = s and d.queue = q.id and d.seq > head.seq)
        ) or exists (
            select from outbox.claim as c
            where c.id >= claims_from and c.until is not null
              and exists (select from outbox.delivery as d where d.slot = s and d.queue = c.queue and d.seq between c.first_seq and c.last_seq)
        );
    end case;
end $$;

-- Truncates one slot if nobody needs it; says 'truncated', 'kept', 'writing' (a transaction that wrote to it is open) or
-- 'reading' (somebody reads it for long, as a dump does: all slots, then, so the caller need not try the next one).
-- An event is kept for the retention time after all of its slot was put, which is when this first finds it so.
-- Writers are kept out first, without waiting, and readers last: the lock waits 25 ms and no longer, because whoever
-- comes meanwhile waits behind it.
create function outbox.truncate_slot(ring text, s smallint, retention interval, claims_from bigint) returns text
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $$
declare
    leaf    text := format('outbox.%I', ring || '_' || s);
    writing boolean := true;
    since   timestamptz;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.truncate_slot needs read committed: an older snapshot would not see who wrote while it waited for the lock';
    end if;
    if outbox.slot_is_empty(ring, s) then
        return 'kept';
    end if;
    if ring = 'event' then
        select r.put_at into since from outbox.ring as r where r.ring = 'event' and r.slot = s;
        if since > clock_timestamp() - retention then
            return 'kept';
        end if;
    end if;
    execute format('lock table %s in share mode nowait', leaf);
    writing := false;
    if outbox.slot_in_use(ring, s, claims_from) then
        return 'kept';
    end if;
    if ring = 'event' and since is null then
        update outbox.ring as r set put_at = clock_timestamp() where r.ring = 'event' and r.slot = s;
        if retention > interval '0' then
            return 'kept';
        end if;
    end if;
    execute format('lock table %s in access exclusive mode', leaf);
    execute format('truncate table %s', leaf);
    return 'truncated';
exception when lock_not_available then
    return case when writing then 'writing' else 'reading' end;
end $$;

-- What publishers wrote to wake the relay. Without waiting: publishers are in the way of nobody here, and nobody in theirs.
create function outbox.truncate_ringing() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if pg_relation_size('outbox.ringing') < 1048576 then
        return false;
    end if;
    lock table outbox.ringing in access exclusive mode nowait;
    truncate outbox.ringing;
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Moves a ring's pointer to the next empty slot, if there is one, and says where it points now. Nothing depends on the
-- order of the slots: a slot that can't be emptied is passed over.
create function outbox.turn(ring text, slots integer) returns smallint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    pointer  text := format('outbox.%I', ring || '_slot');
    current  smallint;
    upcoming smallint;
begin
    execute format('select last_value from %s', pointer) into current;
    for n in 1 .. slots - 1 loop
        upcoming := (current + n) % slots;
        if outbox.slot_is_empty(ring, upcoming) then
            update outbox.ring as r set entered_at = clock_timestamp(), put_at = null where r.ring = turn.ring and r.slot = upcoming;
            perform setval(pointer::regclass, upcoming);
            return upcoming;
        end if;
    end loop;
    return current;
end $$;

-- Makes room in the delivery ring when a queue without a worker holds back its oldest slot: what was never
-- claimed there moves to outbox.retry, some thousands at a time, and the queue's head moves past it.
create function outbox.spill(s smallint, q integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    head    bigint;
    upto    bigint;
    spilled bigint;
begin
    perform from outbox.queue as w where w.id = q for update skip locked;
    if not found then
        return 0; -- somebody receives from it after all
    end if;
    head := coalesce((select c.last_seq from outbox.claim as c where c.queue = q order by c.id desc limit 1), 0);
    upto := (select max(part.seq) from (
                 select d.seq from outbox.delivery as d
                 where d.slot = s and d.queue = q and d.seq > head order by d.seq limit 5000) as part);
    if upto is null then
        return 0;
    end if;
    spilled := outbox.requeue(q, head + 1, upto, 0, 'waiting', 'no worker has received it yet');
    insert into outbox.claim (queue, token, first_seq, last_seq, until, worker)
    values (q, outbox.token(), head + 1, upto, null, 'relay');
    return spilled;
end $$;

-- Dedup records leave by the week: a slot is truncated once all that was written to it is older than `keep`. Says
-- 'truncated', 'kept' (its week is not over by that time), or 'late' (it was written to for an older event since).
-- All that was written within two days of its event is older three days after its week was over by `keep`; a day of these
-- is for clocks. What was written later stands in outbox.dedup_late, and is looked for again under the lock. So this reads
-- no record.
create function outbox.truncate_dedup(s smallint, keep interval, at timestamptz default clock_timestamp()) returns text
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $$
declare
    this_week bigint := floor(extract(epoch from at) / 604800)::bigint;
    weeks_ago bigint := (5 + this_week % 5 - s) % 5;
begin
    if weeks_ago = 0 or at < to_timestamp((this_week - weeks_ago + 1) * 604800) + keep + interval '3 days'
       or outbox.slot_is_empty('dedup', s) then
        return 'kept';
    end if;
    for n in 1..2 loop
        if exists (select from outbox.dedup_late as l where l.slot = s and l.newest > at - keep - interval '1 day') then
            return 'late';
        end if;
        execute format('lock table outbox.%I in access exclusive mode', 'dedup_' || s);
    end loop;
    execute format('truncate table outbox.%I', 'dedup_' || s);
    return 'truncated';
exception when lock_not_available then
    return 'kept';
end $$;

-- ------------------------------------------------------------------ sequences

-- Sequences that lie behind their tables, and pointers that point nowhere: a dump of data alone, logical replication and a
-- careless setval leave them so, and what is numbered below a cursor or a head is never found again. `mend` sets them
-- right: well above the table, because others draw from them meanwhile.
-- Events below their sequence are not looked at: an open transaction may have written millions that nobody can see.
create function outbox.check_sequences(mend boolean)
returns table (name text, stands_at bigint, used bigint)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    highest record;
    stands  bigint;
    begun   boolean;
begin
    for highest in
        select 'event_seq' as sequence, 100000 as gap, greatest(
            (select e.seq from outbox.event as e where e.seq >= (select last_value from outbox.event_seq) order by e.seq desc limit 1),
            (select greatest(c.last_seq, c.floor_seq) from outbox.cursor as c order by c.id desc limit 1),
            (select p.seq from outbox.parked as p order by p.seq desc limit 1)) as seq
        union all
        select 'delivery_seq', 100000, greatest(
            (select d.seq from outbox.delivery as d order by d.seq desc limit 1),
            (select r.seq from outbox.retry as r order by r.seq desc limit 1),
            (select l.seq from outbox.dead_letter as l order by l.seq desc limit 1),
            (select max(head.last_seq) from outbox.queue as q cross join lateral (
                 select c.last_seq from outbox.claim as c where c.queue = q.id order by c.id desc limit 1) as head))
        union all
        select 'claim_id', 100000, (select c.id from outbox.claim as c order by c.id desc limit 1)
        union all
        select 'cursor_id', 100000, (select c.id from outbox.cursor as c order by c.id desc limit 1)
        union all
        select 'queue_id_seq', 100, (select q.id from outbox.queue as q order by q.id desc limit 1)
    loop
        execute format('select last_value, is_called from outbox.%I', highest.sequence) into stands, begun;
        if highest.seq > stands or (highest.seq = stands and not begun) then
            name := highest.sequence;
            stands_at := stands;
            used := highest.seq;
            if mend then
                perform setval(format('outbox.%I', highest.sequence)::regclass,
                    greatest(highest.seq, nextval(format('outbox.%I', highest.sequence)::regclass)) + highest.gap);
            end if;
            return next;
        end if;
    end loop;
    for highest in
        select p.ring || '_slot' as sequence, p.slots from (values ('event', 8), ('delivery', 8), ('cursor', 2)) as p (ring, slots)
    loop
        execute format('select last_value from outbox.%I', highest.sequence) into stands;
        if stands >= highest.slots then
            name := highest.sequence;
            stands_at := stands;
            used := highest.slots - 1;
            if mend then
                perform setval(format('outbox.%I', highest.sequence)::regclass, 0);
            end if;
            return next;
        end if;
    end loop;
end $$;

-- ------------------------------------------------------------------ who may

revoke all on schema outbox from public;
revoke all on all functions in schema outbox from public;

-- Lets a role do one thing and nothing more: be a 'publisher', the 'relay', a 'worker', or an 'operator' (the commands of
-- `outbox`). Run by the schema's owner, again after each migration. A publisher can read nothing, not even its own events.
create function outbox.grant_to(role text, part text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    privilege text;
    leaf      regclass;
    publish   regprocedure;
begin
    execute format('grant usage on schema outbox to %I', role);
    case part
    when 'publisher' then
        for publish in select p.oid::regprocedure from pg_proc as p
                        where p.pronamespace = 'outbox'::regnamespace and p.proname in ('enqueue', 'enqueue_all') loop
            execute format('grant execute on function %s to %I', publish, role);
        end loop;
        return;
    when 'relay' then
        foreach privilege in array array[
            'select, update (xid) on outbox.event', -- update: only in another cluster, once
            'update (seq) on outbox.event',       -- likewise
            'select, insert on outbox.cursor, outbox.delivery, outbox.parked, outbox.queue',
            'truncate on outbox.cursor',          -- what a leader needs to lock it, once a term
            'truncate on outbox.ringing',
            'select on outbox.newest_cursor, outbox.dedup_late, outbox.ringing',
            'select, update on outbox.leader, outbox.ring',
            'update (turn) on outbox.queue',
            'select, insert, update, delete on outbox.claim, outbox.retry, outbox.dead_letter',
            'select, delete on outbox.dedup, outbox.audit',
            'usage, select, update on all sequences in schema outbox'
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
        for leaf in select i.inhrelid::regclass from pg_inherits as i join pg_class as c on c.oid = i.inhparent
                    where c.relnamespace = 'outbox'::regnamespace and c.relkind = 'p' loop
            execute format('grant select, truncate on %s to %I', leaf, role);
        end loop;
    when 'worker' then
        foreach privilege in array array[
            'select on outbox.delivery',
            'select, insert on outbox.queue, outbox.dead_letter',
            'update (turn) on outbox.queue',
            'select, insert, update, delete on outbox.claim, outbox.retry',
            'select, insert, update on outbox.dedup',
            'select, insert, update on outbox.dedup_0, outbox.dedup_1, outbox.dedup_2, outbox.dedup_3, outbox.dedup_4',
            'select, update on outbox.dedup_late',
            'usage on sequence outbox.claim_id, outbox.queue_id_seq'
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
    when 'operator' then
        foreach privilege in array array[
            'select on all tables in schema outbox',
            'select on all sequences in schema outbox',
            'usage on sequence outbox.event_seq, outbox.delivery_seq, outbox.queue_id_seq',
            'insert on outbox.event, outbox.queue',
            'update (poison_until) on outbox.queue',
            'insert, update, delete on outbox.retry, outbox.dead_letter, outbox.parked',
            'insert, update on outbox.audit', -- and never delete
            'delete on outbox.dedup'
        ] loop
            execute format('grant %s to %I', privilege, role);
        end loop;
    else
        raise exception 'there is no part % to play', quote_literal(part)
            using errcode = 'invalid_parameter_value', hint = 'publisher, relay, worker or operator';
    end case;
    execute format('grant select on outbox.migration to %I', role);
    execute format('grant execute on all functions in schema outbox to %I', role);
end $$;
revoke all on function outbox.grant_to from public;
