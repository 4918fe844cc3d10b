-- Failed attempts, deaths, repairs, and the success after them. `outbox why` tells it for 21 days.
--
-- A success at the first attempt is in the dedup record, and is not written here. What an operator dropped is in
-- outbox.dropped, and who repaired is in outbox.audit: a row has the repair's id alone.
-- The table is a ring, as outbox.event is: only appended to, and truncated by the slot.

create sequence outbox.history_slot minvalue 0 start 0;
select setval('outbox.history_slot', 0);

insert into outbox.ring (ring, slot) select 'history', n from generate_series(0, 7) as n;

-- The column order saves padding. An absent text takes no space.
create table outbox.history (
    at       timestamptz not null default clock_timestamp(),
    event_id uuid        not null,
    queue    integer,             -- null: a parked event, for which there was no queue yet
    attempt  integer,
    slot     smallint    not null default coalesce(pg_sequence_last_value('outbox.history_slot'), 0),
    what     text        not null,
    code     text,
    error    text,                -- at most 500 characters
    worker   text,
    repair   uuid                 -- the row of outbox.audit, which may be gone
) partition by list (slot);

create index history_event on outbox.history (event_id); -- only `outbox why` reads it

do $$
begin
    for i in 0..7 loop
        execute format('create table outbox.history_%1$s partition of outbox.history for values in (%1$s)
                        with (autovacuum_enabled = off, toast.autovacuum_enabled = off)', i);
    end loop;
end $$;

-- Of one event the first ten failed attempts are kept, and then each tenth. Numbers of attempts show what was left out.
create function outbox.keeps_attempt(attempt integer) returns boolean
language sql immutable parallel safe
return attempt <= 10 or attempt % 10 = 0;

-- Writes the entries of outbox.settle, which catches its errors. A truncate keeps writers out for 25 ms at most, and this waits
-- longer.
create function outbox.keep_history(places bigint[], events uuid[], made integer[], queues integer[], notes text[], codes text[],
                                    texts text[], worker_name text)
returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '250ms' as $$
begin
    insert into outbox.history (event_id, queue, attempt, what, code, error, worker)
    select k.event, queues[k.n], k.made, notes[k.n], nullif(codes[k.n], ''), nullif(left(texts[k.n], 500), ''), worker_name
    from unnest(places, events, made) as k (n, event, made)
    where notes[k.n] <> 'failed' or outbox.keeps_attempt(k.made);
end $$;

-- Makes room, one step at a time, and turns the ring. The oldest slot goes when all of it is older than `keep`, or when no
-- slot is empty. The slot in use is left after a sixth of `keep`, or when it has an eighth of the bytes. So storms shorten the
-- history, and never lengthen it. It waits for a reader 25 ms at most, because workers wait behind it.
-- A rollback takes back the time of a turn, and not the turn, because that is a sequence. So the turn comes last, and the
-- truncate fails alone. A slot whose time is still missing gets a new one: by its old time it would be the oldest.
create function outbox.turn_history(keep interval, bytes_max bigint) returns void
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $$
declare
    current smallint;
    since   timestamptz;
    oldest  record;
begin
    select s.last_value into current from outbox.history_slot as s;
    update outbox.ring as r set entered_at = clock_timestamp()
    where r.ring = 'history' and r.slot = current
      and exists (select from outbox.ring as n
                  where n.ring = 'history' and n.entered_at > r.entered_at and not outbox.slot_is_empty('history', n.slot));
    begin
        select r.slot, -- the next one was entered when this one was left
               (select min(n.entered_at) from outbox.ring as n
                where n.ring = 'history' and n.entered_at > r.entered_at
                  and (n.slot = current or not outbox.slot_is_empty('history', n.slot))) as left_at
        into oldest from outbox.ring as r
        where r.ring = 'history' and r.slot <> current and not outbox.slot_is_empty('history', r.slot)
        order by r.entered_at limit 1;
        if oldest.left_at < clock_timestamp() - keep
           or not exists (select from outbox.ring as r
                          where r.ring = 'history' and r.slot <> current and outbox.slot_is_empty('history', r.slot)) then
            execute format('truncate table outbox.history_%s', oldest.slot);
        end if;
    exception when lock_not_available then
        null; -- next time
    end;
    select r.entered_at into since from outbox.ring as r where r.ring = 'history' and r.slot = current;
    if not outbox.slot_is_empty('history', current)
       and (since < clock_timestamp() - keep / 6
            or pg_total_relation_size(format('outbox.history_%s', current)::regclass) >= bytes_max / 8) then
        perform outbox.turn('history', 8);
    end if;
exception when lock_not_available then
    null; -- next time
end $$;

revoke all on function outbox.keeps_attempt, outbox.keep_history, outbox.turn_history from public;
