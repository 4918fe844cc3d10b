-- What the relay calls to make room, and to correct sequences.

-- The newest durable cursor. Retention may only trust what a crash can't take back, so it reads the table.
create function outbox.cursor_now() returns outbox.cursor
language sql stable
return (select c from outbox.cursor as c order by c.id desc limit 1);

-- A slot without a file has no row, in any snapshot; one with a file may hold rows that are not committed yet.
create function outbox.slot_is_empty(ring text, s integer) returns boolean
language sql volatile
return pg_relation_size(('outbox.' || ring || '_' || s)::regclass) = 0;

-- Whether anything in this slot of the ring may still be needed. The caller holds a lock that keeps writers out.
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
            select from outbox.queue_head as head
            where exists (select from outbox.delivery as d where d.slot = s and d.queue = head.queue and d.seq > head.seq)
        ) or exists (
            select from outbox.claim as c
            where c.id >= claims_from and c.until is not null
              and exists (select from outbox.delivery as d where d.slot = s and d.queue = c.queue and d.seq between c.first_seq and c.last_seq)
        );
    end case;
end $$;

-- Truncates one slot if it is not needed. Returns 'truncated', 'kept', 'writing' (a transaction that wrote to it is open) or
-- 'reading' (a long read of it, as by a dump: that reads all slots, so the caller need not try the next one).
-- An event is kept for the retention time after all of its slot was put, which is when this first finds it so.
-- Writers are kept out first, without waiting, and readers last. The lock waits for at most 25 ms, because all later sessions
-- wait behind it.
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

-- Truncates what publishers wrote to wake the relay. It does not wait for the lock, so no publisher waits behind it.
create function outbox.truncate_waking() returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if pg_relation_size('outbox.waking') < 1048576 then
        return false;
    end if;
    lock table outbox.waking in access exclusive mode nowait;
    truncate outbox.waking;
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Moves a ring's pointer to the next empty slot, if there is one, and returns its position. Nothing depends on the order of the
-- slots, so a slot that can't be emptied is skipped.
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

-- Makes room in the delivery ring when a queue without a worker holds back its oldest slot. Deliveries there that were never
-- claimed move to outbox.retry, some thousands at a time, and the queue's head moves past them.
create function outbox.evict_to_retry(s smallint, q integer) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    head    bigint;
    upto    bigint;
    evicted bigint;
begin
    perform from outbox.queue as w where w.id = q for update skip locked;
    if not found then
        return 0; -- a worker receives from it after all
    end if;
    head := (select h.seq from outbox.queue_head as h where h.queue = q);
    upto := (select max(part.seq) from (
                 select d.seq from outbox.delivery as d
                 where d.slot = s and d.queue = q and d.seq > head order by d.seq limit 5000) as part);
    if upto is null then
        return 0;
    end if;
    evicted := outbox.requeue(q, head + 1, upto, 0, 'waiting', 'no worker has received it yet');
    insert into outbox.claim (id, queue, token, first_seq, last_seq, until, worker)
    values (outbox.next_claim(q), q, outbox.token(), head + 1, upto, null, 'relay');
    return evicted;
end $$;

-- Dedup records leave by the week. A slot, with its rows and receipts, is truncated once all that was written to it is older
-- than `keep`. Returns 'truncated', 'kept' (its week is not over by that time), or 'late' (it was written to for an older
-- event since). A record that was written within two days of its event is older three days after its week was over by
-- `keep`. One of these days is for differing clocks. Later records are in outbox.dedup_late, which is read again under the
-- lock. So this reads no record.
-- An id may be a day ahead of the clock. So in the two days before the slot's next week begins, it may have records of that
-- week, and is kept. Again one of the days is for differing clocks.
create function outbox.truncate_dedup(s smallint, keep interval, at timestamptz default clock_timestamp()) returns text
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $$
declare
    this_week bigint := floor(extract(epoch from at) / 604800)::bigint;
    weeks_ago bigint := (5 + this_week % 5 - s) % 5;
begin
    if weeks_ago = 0 or at < to_timestamp((this_week - weeks_ago + 1) * 604800) + keep + interval '3 days'
       or weeks_ago = 4 and at >= to_timestamp((this_week + 1) * 604800) - interval '2 days'
       or outbox.slot_is_empty('dedup', s) and outbox.slot_is_empty('receipt', s) then
        return 'kept';
    end if;
    for n in 1..2 loop
        if exists (select from outbox.dedup_late as l where l.slot = s and l.newest > at - keep - interval '1 day') then
            return 'late';
        end if;
        execute format('lock table outbox.%I, outbox.%I in access exclusive mode', 'dedup_' || s, 'receipt_' || s);
    end loop;
    execute format('truncate table outbox.%I, outbox.%I', 'dedup_' || s, 'receipt_' || s);
    return 'truncated';
exception when lock_not_available then
    return 'kept';
end $$;

-- Folds at most n small receipts of a slot, of those done from one minute on. A folded receipt has ids of one minute, as every
-- receipt, and of one minute in which they were done. So a minute is folded once it is over, which is before upto. A later
-- minute is folded in parts, of the RPCs that have many receipts by then: searches read each of them. Returns how many it
-- took, and the last minute of them. A minute that is ahead of the clock counts as now.
-- It is one statement, so a read finds each id before and after it. Receipts that outbox.forget has locked are left for the
-- next time. They are read in the order of receipt_small, so few groups are cut.
create function outbox.fold_receipts(s smallint, since timestamptz, upto timestamptz, n integer)
returns table (folded bigint, newest timestamptz)
language plpgsql set search_path = pg_catalog, pg_temp set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
    since_minute timestamp := date_trunc('minute', since at time zone 'UTC');
    open_minute  timestamp := date_trunc('minute', upto at time zone 'UTC');
    busy         text[];
begin
    if outbox.slot_is_empty('receipt', s) then
        return query select 0::bigint, null::timestamptz;
        return;
    end if;
    busy := array(
        select r.rpc from outbox.receipt as r
        where r.slot = s and r.small and date_trunc('minute', r.done_at at time zone 'UTC') >= greatest(since_minute, open_minute)
        group by r.rpc having count(*) >= 250);
    return query
        with small as materialized (
            select r.ctid as row from outbox.receipt as r
            where r.slot = s and r.small and date_trunc('minute', r.done_at at time zone 'UTC') >= since_minute
              and (date_trunc('minute', r.done_at at time zone 'UTC') < open_minute or r.rpc = any (busy))
            order by date_trunc('minute', r.done_at at time zone 'UTC'), r.rpc limit n for update skip locked
        ), gone as (
            delete from outbox.receipt as r
            where r.slot = s and r.ctid = any (array(select small.row from small))
            returning r.rpc, r.done_at, date_trunc('minute', r.done_at at time zone 'UTC') as done_in, r.ids
        ), part as (
            select g.rpc, g.done_at, g.done_in, k.id, outbox.minute_end(k.id) as minute,
                   row_number() over (partition by g.rpc, outbox.minute_end(k.id), g.done_in order by k.id)
                       / 496 as nth -- 496 ids fill a page of a table
            from gone as g cross join unnest(g.ids) as k (id)
        ), written as (
            insert into outbox.receipt (slot, small, done_at, first_id, last_id, rpc, ids)
            select s, false, m.done_at, m.ids[1], m.ids[cardinality(m.ids)], m.rpc, m.ids
            from (select p.rpc, max(p.done_at) as done_at, array_agg(distinct p.id order by p.id) as ids
                  from part as p group by p.rpc, p.minute, p.done_in, p.nth) as m
        )
        select count(*), case when count(*) > 0 then least(max(g.done_in) at time zone 'UTC', clock_timestamp()) end from gone as g;
end $$;

-- Sequences that are behind their tables, and pointers to no slot. A dump of data alone, logical replication and a careless
-- setval cause this. A row with a number below a cursor or a head is never found. `mend` corrects them: well above the table,
-- because others draw from them meanwhile. Events below their sequence are not read: an open transaction may have written
-- millions of invisible rows.
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
            (select max(head.seq) from outbox.queue_head as head))
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
        select p.ring || '_slot' as sequence, p.slots from (values ('event', 8), ('delivery', 8), ('cursor', 2), ('history', 8)) as p (ring, slots)
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
