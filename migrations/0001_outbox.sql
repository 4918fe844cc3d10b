-- The outbox: events written by publishers, read by one relay, never updated and never deleted row by row.
--
-- Why it looks like this. A queue that claims rows with update or delete dies under an old snapshot: vacuum
-- may not remove what somebody might still see, and every fetch walks over the dead. So the big tables here
-- are only ever appended to and truncated: each is a ring of partitions ("slots"), a sequence points at the
-- slot in use, and the relay's leader moves the pointer on and truncates what nobody needs any more.
-- The relay's position is a pg_snapshot, not a number: "visible now and not visible then" loses nothing and
-- waits for nobody, where "id greater than last" loses what commits late.
--
-- Advisory locks: (1869968994, n) belongs to the whole database, (1869968995, queue id) to one queue.
-- 1869968994 is 'outb' in ASCII. n = 1 is the doorbell, n = 2 the leader, n = 3 migrations.

-- ------------------------------------------------------------------ rings

-- A ring's pointer is a sequence because reading last_value costs publishers two microseconds and no lock,
-- and setval leaves no dead tuple behind.
create sequence outbox.event_slot minvalue 0 start 0;
create sequence outbox.cursor_slot minvalue 0 start 0;
create sequence outbox.delivery_slot minvalue 0 start 0;
select setval('outbox.event_slot', 0), setval('outbox.cursor_slot', 0), setval('outbox.delivery_slot', 0);

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
    snapshot          text        not null, -- everything visible in it has been put
    page_snapshot     text,                 -- while a window is put page by page: the window's end ...
    page_seq          bigint,               -- ... and how far within it
    last_seq          bigint      not null, -- the highest seq ever put
    floor_seq         bigint      not null, -- below every seq of every transaction with xid >= the snapshot's xmax
    system_identifier bigint      not null, -- xids mean nothing in another cluster (a restored dump)
    relay             text        not null,
    at                timestamptz not null default clock_timestamp(),
    slot              smallint    not null
) partition by list (slot);

create index cursor_newest on outbox.cursor (id);

-- Moves while a leader lives; a standby that sees it stand still takes over.
create sequence outbox.heartbeat;

-- ------------------------------------------------------------------ parked

-- Events that the bus refused for good. Everyone else has gone on.
create table outbox.parked (
    seq         bigint      primary key,
    id          uuid        not null,
    name        text        not null,
    key         text,
    payload     text        not null,
    headers     text,
    occurred_at timestamptz not null,
    code        text        not null,
    reason      text        not null,
    parked_at   timestamptz not null default clock_timestamp()
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
    id  integer generated always as identity primary key,
    rpc text not null unique
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

create function outbox.dedup_slot(id uuid) returns smallint
language sql immutable strict parallel safe as $$
    select ((('x' || translate(left(id::text, 13), '-', ''))::bit(48)::bigint / 604800000) % 5)::smallint
$$;

-- ------------------------------------------------------------------ partitions

-- autovacuum is off where rows are only ever truncated: there is nothing for it to find but work.
-- (Postgres still runs its anti-wraparound vacuum.)
do $$
begin
    for i in 0..7 loop
        execute format('create table outbox.event_%1$s partition of outbox.event for values in (%1$s)
                        with (autovacuum_enabled = off, toast.autovacuum_enabled = off)', i);
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

-- ------------------------------------------------------------------ enqueue

-- 48 bits of milliseconds over the first ones of a v4, and its version's bits set to 7. One expression, so that it becomes
-- part of the statement that calls it: planned by itself it cost more than the INSERT.
create function outbox.uuid_v7() returns uuid
language sql volatile parallel safe as $$
    select encode(set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid()) placing
            substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid
$$;

create function outbox.payload_bytes_max() returns integer
language sql immutable parallel safe as $$ select 245760 $$;

-- A text that is no JSON raises here and is caught here: Postgres's own message would quote the payload.
create function outbox.is_json_object(value text) returns boolean
language plpgsql immutable strict parallel safe as $$
begin
    return json_typeof(value::json) = 'object';
exception when invalid_text_representation or statement_too_complex then
    return false;
end $$;

create function outbox.check_entry(name text, payload text, key text, headers text) returns void
language plpgsql immutable parallel safe as $$
begin
    if name is null or name !~ '^[a-z][a-z0-9_]{0,127}$' then
        raise exception 'event name % is not lower_snake_case of at most 128 characters', coalesce(quote_literal(left(name, 128)), 'null')
            using errcode = 'invalid_parameter_value', hint = 'write it as in event_router.yaml, for example event_hoge_updated';
    end if;
    if payload is null or octet_length(payload) > outbox.payload_bytes_max() then
        raise exception 'payload of % is % bytes; at most % fit on the bus', name, coalesce(octet_length(payload)::text, 'no'), outbox.payload_bytes_max()
            using errcode = 'program_limit_exceeded', hint = 'put large data where the subscriber can fetch it, and its address in the event';
    end if;
    if not outbox.is_json_object(payload) then
        raise exception 'payload of % is not a JSON object', name
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
        if exists (
            select from json_each(headers::json) as h
            where json_typeof(h.value) <> 'string'
               or (h.value #>> '{}') !~ '^[\x20-\x7e]*$'
               or h.key !~ '^[a-z][a-z0-9-]{0,63}$'
               or h.key ~ '^(outbox-|connect-|content-|accept|grpc-|proxy-)|-bin$'
               or h.key in ('host', 'connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade',
                            'authorization', 'cookie', 'idempotency-key', 'user-agent')
        ) then
            raise exception 'a header of % is reserved or malformed', name
                using errcode = 'invalid_parameter_value',
                      hint = 'names are lower-case letters, digits and dashes, values are printable ASCII strings; outbox-, connect-, content- and -bin names are taken';
        end if;
    end if;
end $$;

-- Rings when the relay sleeps, and only then: the relay holds this lock exclusively while it is asleep. Whoever
-- gets it shared has seen the relay awake and keeps it so until the end of his transaction, because the relay
-- can't fall asleep while the lock is held, and polls once more when it is. A notify on every commit would hold
-- a database-wide lock across the commit's flush and cost publishers most of their throughput.
create function outbox.ring() returns void
language plpgsql as $$
begin
    if not pg_try_advisory_xact_lock_shared(1869968994, 1) then
        perform pg_notify('outbox', '');
    end if;
end $$;

-- Publishes one event in the caller's transaction: if that commits, the event reaches every subscriber; if it
-- rolls back, nobody ever sees it. Returns the event's id.
create function outbox.enqueue(name text, payload text, key text default null, headers text default null, id uuid default null)
returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    is_object boolean;
begin
    -- As outbox.check_entry, which says what is wrong; that nothing is wrong is seen here, without a call or a regular
    -- expression, which took as long as the INSERT.
    begin
        is_object := json_typeof(payload::json) = 'object';
    exception when invalid_text_representation or statement_too_complex then
        is_object := false;
    end;
    if is_object is not true or headers is not null or octet_length(key) > 512
       or octet_length(payload) > outbox.payload_bytes_max()
       or name is null or octet_length(name) > 128 or ascii(name) not between 97 and 122
       or translate(name, 'abcdefghijklmnopqrstuvwxyz0123456789_', '') <> '' then
        perform outbox.check_entry(name, payload, key, headers);
    end if;
    -- As outbox.ring.
    if not pg_try_advisory_xact_lock_shared(1869968994, 1) then
        perform pg_notify('outbox', '');
    end if;
    id := coalesce(id, outbox.uuid_v7());
    insert into outbox.event (id, name, key, payload, headers, slot)
    values (id, name, key, payload, headers, (select last_value from outbox.event_slot));
    return id;
end $$;

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

-- ------------------------------------------------------------------ receive

-- A fencing token. Not from a sequence: values drawn by a transaction that a crash takes back are drawn again.
create function outbox.token() returns bigint
language sql volatile parallel safe as $$
    select ('x' || translate(left(gen_random_uuid()::text, 18), '-', ''))::bit(64)::bigint
$$;

-- Claims up to n deliveries of a queue, hidden from others for a while. The queue's lock makes claims of one queue
-- take turns; each statement of a volatile function sees what the one before it in the queue committed.
-- What is new gets its lease in the dedup record at once, under the claim's token, unless there is a record of it already:
-- "leased" says so. To ask for it afterwards would be one more round trip for each batch.
-- Asynchronous commit is safe: a claim lost in a crash is made again, and the dedup record, written durably
-- and later in the WAL, says what was done.
create function outbox.receive(q integer, n integer, hidden interval, worker_name text, rpc_name text, leased_for interval)
returns table (seq bigint, claim bigint, token bigint, event_id uuid, body text, attempt integer, enqueued_at timestamptz, leased boolean)
language plpgsql as $$
#variable_conflict use_column
declare
    -- What is due for another attempt gets half of the places, and an odd one every other time: neither may
    -- starve the other, not even one at a time.
    share     integer := n / 2 + (n % 2) * floor(random() * 2)::integer;
    taken     integer;
    more      integer;
    head      bigint;
    new_id    bigint;
    new_token bigint := outbox.token();
begin
    -- Turns take microseconds. But a worker that froze while its answer was being sent holds the lock.
    perform set_config('lock_timeout', '2s', true);
    perform pg_advisory_xact_lock(1869968995, q);

    return query select * from outbox.receive_due(q, share, hidden);
    get diagnostics taken = row_count;

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
        )
        select b.seq, new_id, new_token, b.event_id, b.body, 1, b.enqueued_at,
               b.event_id in (select l.event_id from leased as l)
        from batch as b order by b.seq;
    get diagnostics more = row_count;

    if taken = share and taken + more < n then
        return query select * from outbox.receive_due(q, n - taken - more, hidden);
    end if;
end $$;

-- The part of outbox.receive that has a row per delivery. No claim id: the row is the claim. (Not in language sql, which
-- would plan it anew each time.)
create function outbox.receive_due(q integer, n integer, hidden interval)
returns table (seq bigint, claim bigint, token bigint, event_id uuid, body text, attempt integer, enqueued_at timestamptz, leased boolean)
language plpgsql as $$
#variable_conflict use_column
begin
    return query
        update outbox.retry as r
        set due_at = clock_timestamp() + hidden, token = outbox.token(), attempts = r.attempts + 1
        where r.seq = any (array(
            select d.seq from outbox.retry as d
            where d.queue = q and d.due_at <= clock_timestamp()
            order by d.due_at limit n))
        returning r.seq, null::bigint, r.token, r.event_id, r.body, r.attempts, r.enqueued_at, false;
end $$;

-- Moves what is left of a range of a queue's log to outbox.retry. Rows already retried or dead stay as they
-- are; rows already done come along and are recognised by their dedup record.
create function outbox.requeue(q integer, first bigint, last bigint, made integer, why_code text, why text) returns bigint
language sql as $$
    with moved as (
        insert into outbox.retry (seq, queue, event_id, body, enqueued_at, attempts, due_at, last_code, last_error)
        select d.seq, d.queue, d.event_id, d.body, d.enqueued_at, made, clock_timestamp(), why_code, why
        from outbox.delivery as d
        where d.queue = q and d.seq between first and last
          and not exists (select from outbox.dead_letter as l where l.seq = d.seq)
        on conflict (seq) do nothing
        returning 1
    )
    select count(*) from moved
$$;

-- Gives back what workers claimed and never settled: they died, or hang. Returns how many deliveries that was.
create function outbox.recover(q integer) returns bigint
language plpgsql as $$
declare
    c         record;
    recovered bigint := 0;
begin
    if not pg_try_advisory_xact_lock(1869968995, q) then
        return 0; -- next time
    end if;
    for c in select id, first_seq, last_seq, worker from outbox.claim where queue = q and until < clock_timestamp() for update loop
        recovered := recovered + outbox.requeue(q, c.first_seq, c.last_seq, 1, 'lease_expired',
            'worker ' || c.worker || ' did not settle it in time');
        update outbox.claim set until = null where id = c.id;
    end loop;
    delete from outbox.claim as old where old.queue = q and old.until is null
        and old.id < (select max(newest.id) from outbox.claim as newest where newest.queue = q);
    return recovered;
end $$;

-- ------------------------------------------------------------------ rings turn

-- The newest durable cursor. Retention may only trust what a crash can't take back, and so reads the table.
create function outbox.cursor_now() returns outbox.cursor
language sql stable as $$ select c from outbox.cursor as c order by c.id desc limit 1 $$;

-- Is there anything in this slot of the ring that somebody may still need?
create function outbox.slot_in_use(ring text, s smallint, retention interval) returns boolean
language plpgsql as $$
declare
    put pg_snapshot;
begin
    case ring
    when 'event' then
        put := (select (outbox.cursor_now()).snapshot)::pg_snapshot;
        return exists (select from outbox.event where slot = s and xid >= pg_snapshot_xmax(put))
            or exists (select from outbox.event where slot = s and xid = any (array(select pg_snapshot_xip(put))))
            or (select occurred_at from outbox.event where slot = s order by seq desc limit 1) > clock_timestamp() - retention;
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
            where c.until is not null
              and exists (select from outbox.delivery as d where d.slot = s and d.queue = c.queue and d.seq between c.first_seq and c.last_seq)
        );
    end case;
end $$;

create function outbox.slot_is_empty(ring text, s smallint) returns boolean
language plpgsql as $$
declare
    empty boolean;
begin
    execute format('select not exists (select from outbox.%I)', ring || '_' || s) into empty;
    return empty;
end $$;

-- Truncates one slot if nobody needs it. The lock waits 50 ms and no longer: whoever inserts into the slot, or
-- dumps it, goes first, and the next round tries again. Having the lock means no writer is in flight there.
create function outbox.truncate_slot(ring text, s smallint, retention interval) returns boolean
language plpgsql as $$
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.truncate_slot needs read committed: an older snapshot would not see who wrote while it waited for the lock';
    end if;
    if outbox.slot_is_empty(ring, s) or outbox.slot_in_use(ring, s, retention) then
        return false;
    end if;
    perform set_config('lock_timeout', '50ms', true);
    execute format('lock table outbox.%I in access exclusive mode', ring || '_' || s);
    if outbox.slot_in_use(ring, s, retention) then
        return false;
    end if;
    execute format('truncate table outbox.%I', ring || '_' || s);
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Moves a ring's pointer to the next slot if that is empty, and says where it points now.
create function outbox.turn(ring text, slots integer) returns smallint
language plpgsql as $$
declare
    pointer  text := format('outbox.%I', ring || '_slot');
    current  smallint;
    upcoming smallint;
begin
    execute format('select last_value from %s', pointer) into current;
    upcoming := (current + 1) % slots;
    if outbox.slot_is_empty(ring, upcoming) then
        perform setval(pointer::regclass, upcoming);
        return upcoming;
    end if;
    return current;
end $$;

-- Makes room in the delivery ring when a queue without a worker holds back its oldest slot: what was never
-- claimed there moves to outbox.retry, some thousands at a time, and the queue's head moves past it.
create function outbox.spill(s smallint, q integer) returns bigint
language plpgsql as $$
declare
    head    bigint;
    upto    bigint;
    spilled bigint;
begin
    if not pg_try_advisory_xact_lock(1869968995, q) then
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

-- Dedup records leave by the week, once the whole week is older than the window.
create function outbox.truncate_dedup(s smallint, keep interval) returns boolean
language plpgsql as $$
declare
    leaf  text := 'dedup_' || s;
    young boolean;
begin
    if outbox.slot_is_empty('dedup', s) then
        return false;
    end if;
    execute format('select exists (select from outbox.%I where coalesce(done_at, until) > clock_timestamp() - $1)', leaf) into young using keep;
    if young then
        return false;
    end if;
    perform set_config('lock_timeout', '50ms', true);
    execute format('lock table outbox.%I in access exclusive mode', leaf);
    execute format('select exists (select from outbox.%I where coalesce(done_at, until) > clock_timestamp() - $1)', leaf) into young using keep;
    if young then
        return false;
    end if;
    execute format('truncate table outbox.%I', leaf);
    return true;
exception when lock_not_available then
    return false;
end $$;

-- ------------------------------------------------------------------ who may

revoke all on schema outbox from public;
revoke all on all functions in schema outbox from public;

-- Lets a role do one thing and nothing more: be a 'publisher', the 'relay', a 'worker', or an 'operator' (the commands of
-- `outbox`). Run by the schema's owner, again after each migration. A publisher can read nothing, not even its own events.
create function outbox.grant_to(role text, part text) returns void
language plpgsql as $$
declare
    privilege text;
    leaf      regclass;
begin
    execute format('grant usage on schema outbox to %I', role);
    case part
    when 'publisher' then
        execute format('grant execute on function outbox.enqueue, outbox.enqueue_all to %I', role);
        return;
    when 'relay' then
        foreach privilege in array array[
            'select, update (xid) on outbox.event', -- update: only in another cluster, once
            'select, insert on outbox.cursor, outbox.delivery, outbox.parked, outbox.queue',
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
            'select, insert, update, delete on outbox.claim, outbox.retry',
            'select, insert, update on outbox.dedup',
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
