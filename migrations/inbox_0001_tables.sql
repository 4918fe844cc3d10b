-- The inbox: which events an RPC has had. It lies in the consumer's own database, so the note commits with the effect.
--
-- It needs no other table of the schema `outbox`, and none of them needs it. Each has its own version (outbox.inbox_migration).
--
-- Names. As in the other migrations, this file is run with the search path pg_catalog, and every function sets its own.

revoke all on schema outbox from public;

-- The slot is the week in the event's id, so that a note is unique within one partition, and most notes of a slot grow old
-- together. A delivery may be retried and kept for four weeks, and its note stays for five more. Eleven slots leave a week to
-- empty one.
-- The slot is derived from the id alone: two calls of one event must meet in one partition at any time.
create table outbox.inbox (
    slot     smallint    not null,
    event_id uuid        not null,
    rpc      text        not null,
    noted_at timestamptz not null default clock_timestamp(),
    primary key (slot, event_id, rpc)
) partition by list (slot);

create index inbox_noted on outbox.inbox (noted_at); -- the newest and the oldest notes of a slot

do $$
begin
    for i in 0..10 loop
        execute format('create table outbox.inbox_%1$s partition of outbox.inbox for values in (%1$s)', i);
    end loop;
end $$;

create function outbox.inbox_slot(event_id uuid) returns smallint
language sql immutable strict parallel safe
return ((('x' || translate(left(event_id::text, 13), '-', ''))::bit(48)::bigint / 604800000) % 11)::smallint;

-- Whether the caller's transaction is the first one to have this event for this RPC. If it commits, every later call returns
-- false. While another transaction that got true is open, the insert waits for it: false if that one commits, true if it rolls
-- back. In repeatable read the insert fails (40001) where the other one committed, and the next attempt gets false.
-- It never empties a slot. A truncate would keep its lock until the consumer's transaction ends (docs/decisions/inbox.md).
create function outbox.inbox_first_time(event_id uuid, rpc text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into outbox.inbox (slot, event_id, rpc)
    values (outbox.inbox_slot(inbox_first_time.event_id), inbox_first_time.event_id, inbox_first_time.rpc)
    on conflict do nothing;
    return found;
end $$;

-- Removes one part of the notes that are older than `keep`, and returns whether it removed any: call it until it returns false.
-- A slot is truncated once all of its notes are older. The check is repeated under the lock, which keeps writers out. The lock
-- is waited for 25 ms at most, because later calls of that slot wait behind it.
-- A slot with newer notes, too, is left alone until its old ones are older than the ring's turn. Then they are deleted. That
-- happens where events were called very late, and where ids have no time.
create function outbox.inbox_expire_after(keep interval, turn interval, at timestamptz) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set lock_timeout = '25ms' as $$
declare
    leaf   text;
    newest timestamptz;
    gone   bigint;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'outbox.inbox_expire needs read committed: an older snapshot would not see notes that were written while it waited for the lock';
    end if;
    for s in 0..10 loop
        leaf := format('outbox.%I', 'inbox_' || s);
        begin
            execute format('select i.noted_at from %s as i order by i.noted_at desc limit 1', leaf) into newest;
            continue when newest is null;
            if newest < at - keep then
                execute format('lock table %s in access exclusive mode', leaf);
                execute format('select i.noted_at from %s as i order by i.noted_at desc limit 1', leaf) into newest;
                if newest < at - keep then
                    execute format('truncate table %s', leaf);
                    return true;
                end if;
            end if;
            execute format('delete from %1$s where ctid = any (array(
                                select i.ctid from %1$s as i where i.noted_at < $1 order by i.noted_at limit 10000
                                for update skip locked))', leaf)
            using at - turn;
            get diagnostics gone = row_count;
            if gone > 0 then
                return true;
            end if;
        exception when lock_not_available then
            null; -- a transaction that wrote to it is open, or a dump reads it: the next time
        end;
    end loop;
    return false;
end $$;

create function outbox.inbox_expire() returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    return outbox.inbox_expire_after(interval '35 days', interval '77 days', clock_timestamp());
end $$;

-- Lets a role use the inbox: note events, and remove old notes. It can't read or change a note.
create function outbox.inbox_grant_to(role text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('grant usage on schema outbox to %I', role);
    execute format('grant execute on function outbox.inbox_first_time(uuid, text), outbox.inbox_expire() to %I', role);
end $$;

revoke all on function outbox.inbox_slot(uuid), outbox.inbox_first_time(uuid, text), outbox.inbox_expire(),
                       outbox.inbox_expire_after(interval, interval, timestamptz), outbox.inbox_grant_to(text) from public;
